"""No secret is in a text that is shown or kept, whatever its form; what is harmless stays."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError

from lulc.raster.access import gdal_message
from lulc.redact import (
    HIDDEN,
    first_line,
    redact_setting,
    redact_text,
    redact_url,
    strip_credentials,
)

SECRET = "5ecret/Q+x=="
ENCODED = "5ecret%2FQ%2Bx%3D%3D"

ADDRESSES = [
    f"https://a.blob.core.windows.net/c/x.tif?sv=2024-11-04&se=2026-01-01&sr=c&sp=rl&sig={ENCODED}",
    (
        "https://b.s3.amazonaws.com/x.tif?X-Amz-Algorithm=AWS4&X-Amz-Credential=A%2Fus"
        f"&X-Amz-Signature={ENCODED}"
    ),
    f"https://b.s3.amazonaws.com/x.tif?x-amz-security-token={ENCODED}",
    f"https://b.s3.amazonaws.com/x.tif?AWSAccessKeyId=AKIA&Expires=1&Signature={ENCODED}",
    f"https://storage.googleapis.com/b/x.tif?X-Goog-Credential=a&X-Goog-Signature={ENCODED}",
    f"https://storage.googleapis.com/b/x.tif?GoogleAccessId=a&Expires=1&Signature={ENCODED}",
    f"https://d1.cloudfront.net/x.tif?Policy={ENCODED}&Signature={ENCODED}&Key-Pair-Id=K1",
    f"https://e.org/x.tif?TOKEN={ENCODED}",
    f"https://e.org/x.tif?f=tif&Access_Token={SECRET}",
    f"https://e.org/x.tif?f=tif;apikey={SECRET}",
    f"https://e.org/x.tif?s%69g={ENCODED}",
    f"https://e.org/x.tif#access_token={SECRET}",
    f"https://e.org/x.tif?f=tif#id_token={SECRET}",
    f"https://user:{SECRET}@e.org/x.tif",
    f"https://user:{ENCODED}@e.org/x.tif?f=tif",
    f"https://{ENCODED}@e.org/x.tif",
    "postgresql://user:5ecret?Q@e.org:5432/x.tif",
    f"s3://user:{ENCODED}@b/x.tif",
    f"abfs://user:{ENCODED}@box.dfs.core.windows.net/x.tif",
    f"abfs://container@{ENCODED}@box.dfs.core.windows.net/x.tif",
    f"abfss://c@box.dfs.core.windows.net/x.tif?sig={ENCODED}",
    f"https://container@{ENCODED}@e.org/x.tif",
    f"/vsicurl/https://e.org/x.tif?sig={ENCODED}",
    f"https://t.org/x.tif?url=https%3A%2F%2Fe.org%2Fy%3Fsig%3D{ENCODED}",
    f"https://t.org/x.tif?url=https%3A%2F%2Fuser%3A{ENCODED}%40e.org%2Fy",
    f"https://t.org/x.tif?url=https://e.org/y?sig={ENCODED}",
    f"https://t.org/https://user:{ENCODED}@e.org/x.tif",
]


def is_safe(text: str) -> bool:
    return "5ecret" not in text


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_gives_away_its_secret(address: str) -> None:
    for shown in (
        redact_url(address),
        redact_text(address),
        redact_text(f"'{address}', and {address}: not recognized"),
        first_line(OSError(f"cannot open {address}\nat {address}")),
        redact_setting("scenes.path", address),
        redact_setting("train", {"weights": [address, (address,)]}),
        strip_credentials(address),
        strip_credentials({"assets": [{"href": address}]}),
        strip_credentials(f"{address} {address}"),
        gdal_message(RasterioIOError(f"'{address}' does not exist")),
    ):
        assert is_safe(str(shown)), shown
        assert "x.tif" in str(shown)


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_kept_stays_the_same_when_stripped_again(address: str) -> None:
    plain = strip_credentials(address)
    assert strip_credentials(plain) == plain
    assert "://" in plain


@pytest.mark.parametrize(
    "address",
    [
        "https://e.org/x?collection=a&f=tif",
        "https://e.org/x?key=folder/red.tif",
        "https://e.org/x?time=2024-01-01/2024-12-31&bbox=1,2,3,4#page",
        "https://e.org/a b.tif?v=2",
        "https://e.org:8080/@user/x@2.tif",
        "https://[::1]:8080/x@2.tif",
        "https://e.org/x?mail=a@b",
        "HTTPS://E.org/x?",
        "s3://bucket/a#1.tif",
        "abfs://a-container@account.dfs.core.windows.net/a b.tif",
        "abfss://$web@account.dfs.core.windows.net",
        "what? sig=1",
        "see https://e.org/x?f=tif and (https://e.org/y?v=1)",
        "/data/x?sig=1",
    ],
)
def test_addresses_without_a_secret_are_kept_whole(address: str) -> None:
    assert strip_credentials(address) == address
    assert strip_credentials([{"href": address}, 1, None]) == [{"href": address}, 1, None]


def test_a_shown_address_has_no_query_and_its_place() -> None:
    assert redact_url("https://e.org/x?collection=a") == "https://e.org/x"
    assert redact_url("https://e.org:8080/@user/x@2.tif") == "https://e.org:8080/@user/x@2.tif"
    assert redact_url("/data/a@b/c#1.tif") == "/data/a@b/c#1.tif"
    assert redact_url("s3://us er:pass word@b/x") == "s3://b/x"
    shown = redact_url("s3://bucket/" + "deep/" * 100 + "x.tif")
    assert len(shown) == 200 and shown.startswith("s3://bucket/") and shown.endswith("x.tif")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "'https://e.org/x?f=tif' is not there; did you mean 'y'?",
            "'https://e.org/x' is not there; did you mean 'y'?",
        ),
        ("(see https://u:p@e.org/x?a=1.)", "(see https://e.org/x.)"),
        (
            "a https://e.org/x?sig=1, b https://e.org/y?sig=2",
            "a https://e.org/x, b https://e.org/y",
        ),
        ("HEAD /x?sig=5ecret failed", "HEAD /x failed"),
        ("url: /stac/search?5ecret (Caused by x)", "url: /stac/search (Caused by x)"),
        ("(abfs://box@a.net: no)", "(abfs://box@a.net: no)"),
        ("no file data/202?/*.tif", "no file data/202?/*.tif"),
        ("url=https%3A%2F%2Fe.org%3Fsig%3D5ecret", "url=https%3A%2F%2Fe.org"),
        ("AWS_SECRET_ACCESS_KEY=5ecret is wrong", f"AWS_SECRET_ACCESS_KEY={HIDDEN} is wrong"),
        ("a=1&Sig=5ecret&b=2", f"a=1&Sig={HIDDEN}&b=2"),
        ('{"access_token": "5ecret", "n": "1"}', f'{{"access_token": "{HIDDEN}", "n": "1"}}'),
        ("{'password': '5ecret'}", f"{{'password': '{HIDDEN}'}}"),
        ("Authorization: Bearer 5ecret5ecret5ecret", f"Authorization: Bearer {HIDDEN}"),
        ("no credentials: s3 takes them from AWS", "no credentials: s3 takes them from AWS"),
        ("crs=EPSG:4326, rows=5", "crs=EPSG:4326, rows=5"),
    ],
)
def test_messages_keep_all_but_secrets(text: str, shown: str) -> None:
    assert redact_text(text) == shown
    assert redact_text(ValueError(text)) == shown


def test_a_message_is_redacted_before_it_is_cut() -> None:
    for length in range(60):
        assert is_safe(redact_text("at https://user:5ecret@e.org/x?sig=5ecret", length))
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert len(redact_text("?" * 10**6)) < 10**5


def test_the_error_of_a_server_that_cannot_be_reached_has_no_query() -> None:
    with pytest.raises(requests.RequestException) as caught:
        requests.get("http://user:5ecret@127.0.0.1:9/stac?token=5ecret", timeout=1)
    shown = redact_text(caught.value, 300)
    assert is_safe(shown) and "/stac" in shown


@pytest.mark.parametrize(
    "name",
    [
        "spark.conf.spark.hadoop.fs.s3a.secret.key", "publish.catalog.token", "PASSWORD", "api_key",
        "publish.catalog.s3.secret-access-key", "publish.catalog.credential", "Authorization",
        "fs.azure.account.key.x", "db.pwd", "spark.executorEnv.DB_PASS", "db.pass", "AZURE_SAS",
        "fs.azure.sas.container.account",
    ],
)  # fmt: skip
def test_settings_with_a_secret_name_are_hidden(name: str) -> None:
    assert redact_setting(name, "5ecret") == HIDDEN
    assert redact_setting(name, ["5ecret", ("5ecret",)]) == [HIDDEN, [HIDDEN]]
    assert redact_setting(name, {"value": "5ecret"}) == {"value": HIDDEN}
    assert redact_setting("", {name: "5ecret"}) == {name: HIDDEN}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.epochs", 5),
        ("bands", "red"),
        ("keyboard", "x"),
        ("compass", "x"),
        ("orbit_pass", "ascending"),
        ("samples.min_labelled", 0.5),
        ("scenes.pattern", "{scene}_202?_{date}.tif"),
        ("scenes.path", "abfs://box@account.dfs.core.windows.net/x.tif"),
        ("scenes.path", "/data/year=202?/month=0*/x.tif"),
        ("legend.1.colour", "#419bdf"),
        ("spark.authenticate", "true"),
        ("tracking.uri", None),
    ],
)
def test_other_settings_are_as_they_were(name: str, value: object) -> None:
    assert redact_setting(name, value) == value


def test_a_setting_in_another_is_hidden() -> None:
    options = "-Xmx1g -Djavax.net.ssl.keyStorePassword=5ecret"
    assert redact_setting("x", options) == f"-Xmx1g -Djavax.net.ssl.keyStorePassword={HIDDEN}"


@given(
    user=st.from_regex(r"[\w.~%-]{1,8}", fullmatch=True),
    password=st.from_regex(r"[\w.~%!$&'()*+,;=:@#-]{0,8}", fullmatch=True),
    query=st.from_regex(r"(\w{1,3}=\w{1,3}&){0,3}", fullmatch=True),
    name=st.sampled_from(["sig", "Signature", "x-amz-signature", "MY_TOKEN", "apiKey"]),
    before=st.sampled_from(["", "see ", "'", "(", '"', "{'href': '"]),
)
def test_any_signed_address_is_safe(
    user: str, password: str, query: str, name: str, before: str
) -> None:
    address = f"https://{user}:{password}Hidden1@e.org/a/x.tif?{query}{name}=Hidden2"
    for shown in (
        redact_url(address),
        redact_text(before + address),
        redact_setting("path", before + address),
        strip_credentials(address),
    ):
        assert "Hidden" not in shown
        assert "e.org/a/x.tif" in shown
