package lulc;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

import javax.management.Notification;
import javax.management.NotificationEmitter;
import javax.management.NotificationListener;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.callback.PasswordCallback;
import javax.security.sasl.AuthorizeCallback;

import org.apache.hadoop.hive.common.auth.HiveAuthUtils;
import org.apache.hadoop.hive.conf.HiveConf;
import org.apache.hadoop.hive.conf.HiveConf.ConfVars;
import org.apache.hive.service.ServiceException;
import org.apache.hive.service.auth.PlainSaslHelper;
import org.apache.hive.service.cli.CLIService;
import org.apache.hive.service.cli.thrift.ThriftBinaryCLIService;
import org.apache.hive.service.rpc.thrift.TExecuteStatementReq;
import org.apache.hive.service.rpc.thrift.TExecuteStatementResp;
import org.apache.hive.service.rpc.thrift.TFetchResultsReq;
import org.apache.hive.service.rpc.thrift.TFetchResultsResp;
import org.apache.hive.service.rpc.thrift.TGetResultSetMetadataReq;
import org.apache.hive.service.rpc.thrift.TGetResultSetMetadataResp;
import org.apache.hive.service.rpc.thrift.TOpenSessionReq;
import org.apache.hive.service.rpc.thrift.TOpenSessionResp;
import org.apache.spark.SparkContext;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.hive.thriftserver.HiveThriftServer2;
import org.apache.spark.sql.hive.thriftserver.SparkSQLCLIService;
import org.apache.spark.sql.hive.thriftserver.ui.HiveThriftServer2EventManager;
import org.apache.thrift.TException;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TSaslServerTransport;
import org.apache.thrift.transport.TServerSocket;

/** Spark's Thrift server, whose clients give a token and cannot set what belongs to the server. */
public final class QueryServer {
    private static final String AUTHORIZER = "org.apache.hadoop.hive.ql.security.authorization"
        + ".MetaStoreAuthzAPIAuthorizerEmbedOnly";

    // Of the heap, after it was cleared of what is no longer in use.
    private static final double MOST_IN_USE = 0.85;
    private static final String NO_MEMORY = "the queries that ran left little of the server's"
        + " memory: ask for less at a time";

    private static final String NO_TYPE = "Unrecognized type name";
    private static final String AS_TEXT = ": JDBC has no type for geometries, ask for them as"
        + " texts, by ST_AsText(…)";

    private CLIService queries;
    private ThriftBinaryCLIService listener;

    /**
     * Starts to listen, as settings of Hive say.
     *
     * Every client works in a session of its own, made from this one.
     */
    public void start(SparkSession spark, String token, Map hive) {
        HiveConf settings = new HiveConf(spark.sessionState().newHadoopConf(), HiveConf.class);
        for (Object name : hive.keySet()) settings.set((String) name, (String) hive.get(name));
        settings.set("hive.server2.transport.mode", "binary");
        // Nobody's name is checked, so nothing is done in a client's name.
        settings.set("hive.server2.enable.doAs", "false");
        // There is no metastore, and none is to be made: Hive asks for one when a session ends, and
        // all but this one of its authorizers do when tables are listed.
        settings.set("hive.metastore.uris", "thrift://127.0.0.1:1");
        settings.set("hive.metastore.connect.retries", "0");
        settings.set("hive.security.authorization.manager", AUTHORIZER);
        watchHeap(spark.sparkContext());
        HiveThriftServer2.eventManager_$eq(new HiveThriftServer2EventManager(spark.sparkContext()));
        queries = new SparkSQLCLIService(null, spark);
        queries.init(settings);
        queries.start();
        listener = new Listener(queries, token);
        listener.init(settings);
        listener.start();
    }

    /** Stops to listen, and ends the clients' sessions. */
    public void stop() {
        listener.stop();
        queries.stop();
    }

    /**
     * Cancels all queries when they leave little of the heap.
     *
     * Whichever thread asked for the last of it would end otherwise, and Spark with most of them.
     */
    private static void watchHeap(final SparkContext context) {
        for (Object each : ManagementFactory.getMemoryPoolMXBeans()) {
            MemoryPoolMXBean pool = (MemoryPoolMXBean) each;
            // Of the heap's pools, those of what stays support both.
            if (pool.isUsageThresholdSupported() && pool.isCollectionUsageThresholdSupported())
                pool.setCollectionUsageThreshold((long) (MOST_IN_USE * pool.getUsage().getMax()));
        }
        NotificationEmitter heap = (NotificationEmitter) ManagementFactory.getMemoryMXBean();
        heap.addNotificationListener(new NotificationListener() {
            public void handleNotification(Notification exceeded, Object ignored) {
                if (context.isStopped()) return;
                for (int job : context.statusTracker().getActiveJobIds())
                    context.cancelJob(job, NO_MEMORY);
                context.cancelAllJobs();
            }
        }, null, null);
    }

    private static byte[] digest(String text) {
        try {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (java.security.NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Accepts any user name with the server's token as password. */
    private static final class TokenCheck implements CallbackHandler {
        private final byte[] expected;

        TokenCheck(String token) {
            expected = digest(token);
        }

        public void handle(Callback[] asked) {
            boolean right = false;
            for (int i = 0; i < asked.length; i++) {
                // The time that the comparison takes tells nothing of the token.
                if (asked[i] instanceof PasswordCallback) {
                    String given = new String(((PasswordCallback) asked[i]).getPassword());
                    right = MessageDigest.isEqual(expected, digest(given));
                }
                if (asked[i] instanceof AuthorizeCallback)
                    ((AuthorizeCallback) asked[i]).setAuthorized(right);
            }
        }
    }

    /**
     * Asks for the token, and drops the settings that a client sends beside its statements: of
     * Spark, Hive and Java.
     *
     * Hive would find a class that checks passwords by its name, through the class loader of the
     * thread at hand; a thread that has served a client has one that does not know this class.
     */
    private static final class Listener extends ThriftBinaryCLIService {
        private final String token;

        Listener(CLIService queries, String token) {
            super(queries);
            this.token = token;
        }

        protected void initializeServer() {
            TThreadPoolServer.Args parts;
            try {
                parts = new TThreadPoolServer.Args(listen());
            } catch (Exception error) {
                throw new ServiceException("cannot listen", error);
            }
            parts.minWorkerThreads(minWorkerThreads);
            parts.maxWorkerThreads(maxWorkerThreads);
            // First, as it registers the mechanism of SASL by which a password is given.
            parts.processorFactory(PlainSaslHelper.getPlainProcessorFactory(this));
            TSaslServerTransport.Factory login = new TSaslServerTransport.Factory();
            login.addServerDefinition("PLAIN", "NONE", null, new HashMap(), new TokenCheck(token));
            parts.transportFactory(login);
            long longest = hiveConf.getIntVar(ConfVars.HIVE_SERVER2_THRIFT_MAX_MESSAGE_SIZE);
            parts.protocolFactory(new TBinaryProtocol.Factory());
            parts.inputProtocolFactory(new TBinaryProtocol.Factory(true, true, longest, longest));
            server = new TThreadPoolServer(parts);
            server.setServerEventHandler(serverEventHandler);
        }

        private TServerSocket listen() throws Exception {
            String keystore = hiveConf.getVar(ConfVars.HIVE_SERVER2_SSL_KEYSTORE_PATH);
            if (keystore == null || keystore.isEmpty())
                return HiveAuthUtils.getServerSocket(hiveHost, portNum);
            String password = hiveConf.getVar(ConfVars.HIVE_SERVER2_SSL_KEYSTORE_PASSWORD);
            String[] old = hiveConf.getVar(ConfVars.HIVE_SSL_PROTOCOL_BLACKLIST).split(",");
            return HiveAuthUtils.getServerSSLSocket(
                hiveHost, portNum, keystore, password, Arrays.asList(old));
        }

        public TOpenSessionResp OpenSession(TOpenSessionReq request) throws TException {
            Map settings = new HashMap();
            // A first statement, by which the session has its views before it is asked for them.
            settings.put("use:database", "default");
            request.setConfiguration(settings);
            return super.OpenSession(request);
        }

        public TExecuteStatementResp ExecuteStatement(TExecuteStatementReq request)
            throws TException {
            request.unsetConfOverlay();
            return super.ExecuteStatement(request);
        }

        public TGetResultSetMetadataResp GetResultSetMetadata(TGetResultSetMetadataReq request)
            throws TException {
            TGetResultSetMetadataResp answer = super.GetResultSetMetadata(request);
            String error = answer.getStatus().getErrorMessage();
            if (error != null && error.contains(NO_TYPE))
                answer.getStatus().setErrorMessage(error + AS_TEXT);
            return answer;
        }

        public TFetchResultsResp FetchResults(TFetchResultsReq request) throws TException {
            TFetchResultsResp answer = super.FetchResults(request);
            // A client makes exceptions of these, and tells of nothing else where it cannot.
            answer.getStatus().unsetInfoMessages();
            return answer;
        }
    }
}
