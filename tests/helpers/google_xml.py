"""A proxy that translates Google's XML API to its JSON API, where fake-gcs-server knows it not.

The server takes a PUT of the XML API only signed in its address, and then without its condition; an
upload in parts it does not take, and where there is no bucket it answers 500. By the JSON API it
looks at the condition and puts within one lock, so that of several that put an object where there
is none, one succeeds.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tests.helpers.faulty_proxy import serve


@contextmanager
def xml_api(server: str) -> Iterator[str]:
    """Run the proxy before the fake-gcs-server at host:port, and give its own host:port."""
    uploads: dict[str, dict[int, bytes]] = {}

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            upload = query.get("uploadId", [""])[0]
            match self.command, sorted(query):
                case "PUT", []:
                    self._publish(body)
                case "POST", ["uploads"]:
                    upload = uuid.uuid4().hex
                    uploads[upload] = {}
                    self._answer_xml("Initiate", "UploadId", upload)
                case "PUT", ["partNumber", "uploadId"]:
                    uploads[upload][int(query["partNumber"][0])] = body
                    self._answer(HTTPStatus.OK, {"ETag": f'"{query["partNumber"][0]}"'}, b"")
                case "POST", ["uploadId"]:
                    self._publish(b"".join(part for _, part in sorted(uploads[upload].items())))
                    del uploads[upload]
                case "DELETE", ["uploadId"]:
                    del uploads[upload]
                    self._answer(HTTPStatus.NO_CONTENT, {}, b"")
                case _:
                    status, headers, content = self._ask(self.command, self.path, body)
                    if status == HTTPStatus.INTERNAL_SERVER_ERROR and b"no bucket" in content:
                        status, content = HTTPStatus.NOT_FOUND, b"<Code>NoSuchBucket</Code>"
                    self._answer(status, headers, content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

        def _publish(self, content: bytes) -> None:
            _, bucket, name = unquote(urlsplit(self.path).path).split("/", 2)
            asked = {"uploadType": "media", "name": name}
            if generation := self.headers.get("x-goog-if-generation-match"):
                asked["ifGenerationMatch"] = generation
            path = f"/upload/storage/v1/b/{bucket}/o?{urlencode(asked)}"
            status, headers, answer = self._ask("POST", path, content)
            if status != HTTPStatus.OK:
                self._answer(status, headers, answer)
                return
            made = json.loads(answer)
            etag = f'"{made["etag"]}"'
            if self.command == "PUT":
                headers = {"ETag": etag, "x-goog-generation": made["generation"]}
                self._answer(HTTPStatus.OK, headers, b"")
            else:
                self._answer_xml("Complete", "ETag", etag)

        def _ask(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
            # The server takes a request for one of the XML API by its host.
            dropped = ("host", "content-length")
            headers = {n: v for n, v in self.headers.items() if n.lower() not in dropped}
            headers |= {"Host": server, "Content-Length": str(len(body))}
            connection = http.client.HTTPConnection(server, timeout=60)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), content

        def _answer_xml(self, verb: str, name: str, text: str) -> None:
            root = f"{verb}MultipartUploadResult"
            content = f"<{root}><{name}>{text}</{name}></{root}>".encode()
            self._answer(HTTPStatus.OK, {"Content-Type": "application/xml"}, content)

        def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "date", "content-length"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serve(Proxy) as place:
        yield place
