package lulc;

import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.Locale;
import java.util.Set;

import org.apache.sedona.spark.SedonaContext;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.TableIdentifier;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry$;
import org.apache.spark.sql.catalyst.analysis.TableFunctionRegistry$;
import org.apache.spark.sql.catalyst.analysis.UnresolvedFunction;
import org.apache.spark.sql.catalyst.analysis.UnresolvedFunctionName;
import org.apache.spark.sql.catalyst.analysis.UnresolvedGenerator;
import org.apache.spark.sql.catalyst.analysis.UnresolvedIdentifier;
import org.apache.spark.sql.catalyst.analysis.UnresolvedNamespace;
import org.apache.spark.sql.catalyst.analysis.UnresolvedRelation;
import org.apache.spark.sql.catalyst.analysis.UnresolvedTableOrView;
import org.apache.spark.sql.catalyst.analysis.UnresolvedTableValuedFunction;
import org.apache.spark.sql.catalyst.catalog.SessionCatalog;
import org.apache.spark.sql.catalyst.catalog.TemporaryViewRelation;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;
import org.apache.spark.sql.catalyst.expressions.PythonUDF;
import org.apache.spark.sql.catalyst.parser.ParseException;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.Range;
import org.apache.spark.sql.catalyst.plans.logical.RebalancePartitions;
import org.apache.spark.sql.catalyst.plans.logical.RepartitionOperation;
import org.apache.spark.sql.catalyst.trees.TreeNode;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.execution.aggregate.ScalaAggregator;
import org.apache.spark.sql.execution.command.CreateViewCommand;
import org.apache.spark.sql.execution.command.SetCommand;
import org.apache.spark.sql.execution.command.SetNamespaceCommand;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;

import scala.Function1;
import scala.Option;
import scala.Product;
import scala.Tuple2;
import scala.collection.Iterator;
import scala.collection.immutable.Seq;
import scala.runtime.AbstractFunction1;
import scala.runtime.AbstractFunction2;
import scala.runtime.BoxedUnit;

/**
 * Sessions in which a statement can read a run's views and make views of its own, and nothing else.
 *
 * A statement is checked twice: as it was parsed, before Spark looks anything up, and as it was
 * analysed, when each name stands for what it reads and calls. What is not listed is refused.
 */
public final class QueryRules {
    private static final Set PLANS = setOf(
        // Queries.
        "Aggregate AsOfJoin CTERelationDef CTERelationRef Deduplicate DeserializeToObject Distinct"
        + " EmptyRelation Except Expand Filter Generate GlobalLimit Intersect Join LateralJoin"
        + " LocalLimit LocalRelation LogicalRelation MapInArrow NameParameterizedQuery Offset"
        + " OneRowRelation PipeOperator Pivot PosParameterizedQuery Project Range"
        + " RebalancePartitions Repartition"
        + " RepartitionByExpression ResolvedHint ResolvedInlineTable Sample Sort SubqueryAlias"
        + " Tail Transpose Union Unpivot UnresolvedHaving UnresolvedHint UnresolvedInlineTable"
        + " UnresolvedRelation UnresolvedSubqueryColumnAliases UnresolvedTVFAliases"
        + " UnresolvedTableValuedFunction UnresolvedTranspose UnresolvedWith View Window WithCTE"
        + " WithWindowDefinition"
        // Commands that show, and views of this session.
        + " CommandResult CreateViewCommand DescribeColumn DescribeColumnCommand DescribeFunction"
        + " DescribeFunctionCommand DescribeQueryCommand DescribeRelation DescribeTableCommand"
        + " DropView DropTempViewCommand ExplainCommand SetCatalogAndNamespace SetCommand"
        + " SetNamespaceCommand ShowCatalogsCommand ShowColumns ShowColumnsCommand"
        + " ShowCurrentNamespaceCommand ShowFunctions ShowFunctionsCommand ShowNamespaces"
        + " ShowTables ShowTablesCommand ShowViews ShowViewsCommand"
        // Names in commands.
        + " CurrentNamespace$ ResolvedIdentifier ResolvedNamespace ResolvedNonPersistentFunc"
        + " ResolvedTempView UnresolvedFunctionName UnresolvedIdentifier UnresolvedNamespace"
        + " UnresolvedTableOrView");

    private static final String SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions";

    // The driver keeps a record of each, and so holds up every client of a server.
    private static final int MOST_PARTITIONS = 10000;

    private static final Set SETTINGS = setOf(
        "spark.sql.adaptive.enabled spark.sql.ansi.enabled spark.sql.autobroadcastjointhreshold"
        + " spark.sql.session.timezone " + SHUFFLE_PARTITIONS);

    // They call Java, or parse documents that can name other files. No column of a run holds such.
    private static final Set REFUSED_FUNCTIONS = setOf(
        "from_avro from_protobuf from_xml java_method reflect schema_of_avro schema_of_xml"
        + " st_geomfromgml st_geomfromkml to_avro to_protobuf to_xml try_reflect xpath"
        + " xpath_boolean xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short"
        + " xpath_string");

    private static final Set REFUSED_EXPRESSIONS = setOf(
        "AvroDataToCatalyst CallMethodViaReflection CatalystDataToAvro"
        + " ExpressionWithUnresolvedIdentifier FromAvro FromProtobuf SchemaOfAvro SchemaOfXml"
        + " ST_GeomFromGML ST_GeomFromKML ScalaUDF PythonUDAF PythonUDTF StructsToXml"
        + " ToAvro ToProtobuf TryReflect XPathBoolean XPathDouble XPathFloat XPathInt XPathList"
        + " XPathLong XPathShort XPathString XmlToStructs");

    // This project's own.
    private static final Set OWN_FUNCTIONS = setOf(
        "cosine lulc_area_m2 lulc_class_histogram lulc_classify lulc_legend lulc_probabilities");

    private static final FunctionIdentifier OF_SEDONA = new FunctionIdentifier("st_geomfromwkb");

    private static final String SPARK = "org.apache.spark.sql.";

    /** Restricts every session that is made from this one, and gives it this one's views. */
    public void enforce(final SparkSession root) {
        // Spark replaces ${env:NAME} in a text before it parses it.
        SparkConf settings = root.sharedState().conf();
        settings.set("spark.sql.variable.substitute", "false");
        settings.set("spark.sql.runSQLOnFiles", "false");
        settings.set("spark.sql.scripting.enabled", "false");
        root.extensions().injectParser(new AbstractFunction2() {
            public Object apply(Object session, Object parser) {
                return session == root ? parser : new Parser(root, (ParserInterface) parser);
            }
        });
        root.extensions().injectCheckRule(new AbstractFunction1() {
            // Called once a session, before it analyses its first statement.
            public Object apply(Object session) {
                return session == root ? new Accept() : prepare(root, (SparkSession) session);
            }
        });
    }

    private static Object prepare(SparkSession root, SparkSession session) {
        // The thread of a client has a class loader of Hive's, without Sedona.
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        thread.setContextClassLoader(QueryRules.class.getClassLoader());
        try {
            if (root.sessionState().functionRegistry().functionExists(OF_SEDONA))
                SedonaContext.create(session);
        } finally {
            thread.setContextClassLoader(before);
        }
        for (java.util.Iterator names = OWN_FUNCTIONS.iterator(); names.hasNext();)
            copyFunction(new FunctionIdentifier((String) names.next()), root, session);
        SessionCatalog from = root.sessionState().catalog();
        SessionCatalog to = session.sessionState().catalog();
        Set sources = Collections.newSetFromMap(new IdentityHashMap());
        for (Iterator names = from.getTempViewNames().iterator(); names.hasNext();) {
            String name = (String) names.next();
            TemporaryViewRelation view = (TemporaryViewRelation) from.getRawTempView(name).get();
            to.createTempView(name, view, true);
            // A view that was made by a statement has none; its text is checked where it is used.
            if (view.plan().isDefined()) addSources(view.plan().get(), sources);
        }
        return new Check(root, sources);
    }

    private static void copyFunction(FunctionIdentifier name, SparkSession from, SparkSession to) {
        Option description = from.sessionState().functionRegistry().lookupFunction(name);
        Option builder = from.sessionState().functionRegistry().lookupFunctionBuilder(name);
        if (builder.isDefined())
            to.sessionState().functionRegistry().registerFunction(
                name, (ExpressionInfo) description.get(), (Function1) builder.get());
    }

    private static void addSources(Object part, Set sources) {
        if (part instanceof LogicalRelation) sources.add(((LogicalRelation) part).relation());
        // What reads a table that lies in an object store.
        if (part instanceof PythonUDF) sources.add(((PythonUDF) part).func());
        for (Iterator parts = partsOf(part); parts.hasNext();) addSources(parts.next(), sources);
    }

    /** The parts in which a tree can hold plans and expressions: arguments, lists, pairs. */
    private static Iterator partsOf(Object part) {
        if (part instanceof DataType) return scala.collection.Iterator$.MODULE$.empty();
        if (part instanceof TreeNode || part instanceof Option || part instanceof Tuple2)
            return ((Product) part).productIterator();
        if (part instanceof scala.collection.Iterable)
            return ((scala.collection.Iterable) part).iterator();
        return scala.collection.Iterator$.MODULE$.empty();
    }

    private static Set setOf(String words) {
        return new HashSet(Arrays.asList(words.split(" ")));
    }

    private static String last(Seq parts) {
        return (String) parts.last();
    }

    private static SecurityException refusal(String what) {
        return new SecurityException("not allowed in a query: " + what);
    }

    /** The rule of a session that is not restricted. */
    private static final class Accept extends AbstractFunction1 {
        public Object apply(Object plan) {
            return BoxedUnit.UNIT;
        }
    }

    /** Checks a plan and all plans and expressions in it. */
    private static final class Check extends AbstractFunction1 {
        private final SparkSession root;
        private final Set sources;

        /** With sources null, for plans as they were parsed. */
        Check(SparkSession root, Set sources) {
            this.root = root;
            this.sources = sources;
        }

        public Object apply(Object part) {
            if (part instanceof LogicalPlan) checkPlan((LogicalPlan) part);
            if (part instanceof Expression) checkExpression((Expression) part);
            for (Iterator parts = partsOf(part); parts.hasNext();) apply(parts.next());
            return BoxedUnit.UNIT;
        }

        private void checkPlan(LogicalPlan plan) {
            String name = plan.getClass().getSimpleName();
            if (!plan.getClass().getName().startsWith(SPARK) || !PLANS.contains(name))
                throw refusal(name.startsWith("UnionLoop") ? "recursion; Spark 4.0 runs none" : name);
            if (plan instanceof UnresolvedRelation)
                checkName(((UnresolvedRelation) plan).multipartIdentifier());
            if (plan instanceof UnresolvedTableOrView)
                checkName(((UnresolvedTableOrView) plan).multipartIdentifier());
            if (plan instanceof UnresolvedIdentifier)
                checkName(((UnresolvedIdentifier) plan).nameParts());
            if (plan instanceof UnresolvedTableValuedFunction)
                checkFunction(last(((UnresolvedTableValuedFunction) plan).name()));
            if (plan instanceof UnresolvedFunctionName)
                checkFunction(last(((UnresolvedFunctionName) plan).multipartIdentifier()));
            if (plan instanceof Range) checkPartitions(((Range) plan).numSlices());
            if (plan instanceof RepartitionOperation)
                checkPartitions(((RepartitionOperation) plan).numPartitions());
            if (plan instanceof RebalancePartitions)
                checkPartitions(((RebalancePartitions) plan).optNumPartitions());
            if (plan instanceof SetCommand) checkSetting((SetCommand) plan);
            if (plan instanceof CreateViewCommand) checkView((CreateViewCommand) plan);
            if (plan instanceof UnresolvedNamespace)
                checkNamespace(((UnresolvedNamespace) plan).multipartIdentifier());
            if (plan instanceof SetNamespaceCommand)
                checkNamespace(((SetNamespaceCommand) plan).namespace());
            if (plan instanceof LogicalRelation)
                checkSource(((LogicalRelation) plan).relation());
        }

        private void checkSource(Object files) {
            if (sources == null || !sources.contains(files))
                throw refusal("files that are no table of this run");
        }

        private void checkPython(PythonUDF function) {
            // A query can make no function; those of Python come from the root session.
            if (!OWN_FUNCTIONS.contains(function.name())) checkSource(function.func());
        }

        private void checkExpression(Expression expression) {
            if (expression instanceof UnresolvedFunction)
                checkFunction(last(((UnresolvedFunction) expression).nameParts()));
            if (expression instanceof UnresolvedGenerator)
                checkFunction(((UnresolvedGenerator) expression).name().funcName());
            Object function = expression instanceof ScalaAggregator
                ? ((ScalaAggregator) expression).agg() : expression;
            String place = function.getClass().getName();
            String name = function.getClass().getSimpleName();
            if (expression instanceof PythonUDF) checkPython((PythonUDF) expression);
            boolean listed = place.startsWith(SPARK + "catalyst.")
                || place.startsWith(SPARK + "sedona_sql.expressions.") && name.startsWith("ST_");
            if (!listed || REFUSED_EXPRESSIONS.contains(name))
                throw refusal("function " + expression.prettyName());
        }

        private void checkFunction(String written) {
            String name = written.toLowerCase(Locale.ROOT);
            FunctionIdentifier function = new FunctionIdentifier(name);
            boolean ofSpark = FunctionRegistry$.MODULE$.builtin().functionExists(function)
                || TableFunctionRegistry$.MODULE$.builtin().functionExists(function);
            // Of a name that means nothing Spark says what is like it.
            boolean listed = ofSpark || OWN_FUNCTIONS.contains(name) || name.startsWith("st_")
                || !isKnown(function);
            if (!listed || REFUSED_FUNCTIONS.contains(name)) throw refusal("function " + name);
        }

        private boolean isKnown(FunctionIdentifier function) {
            return root.sessionState().functionRegistry().functionExists(function)
                || root.sessionState().tableFunctionRegistry().functionExists(function);
        }

        private void checkName(Seq parts) {
            if (parts.size() != 1)
                throw refusal(parts.mkString(".") + "; a table's name is one word");
        }

        private void checkNamespace(Seq parts) {
            // SHOW DATABASES has no name.
            String name = parts.mkString(".");
            if (!name.isEmpty() && !name.equalsIgnoreCase("default")) throw refusal(name);
        }

        private void checkSetting(SetCommand command) {
            if (command.kv().isEmpty()) throw refusal("SET without a name");
            String key = (String) ((Tuple2) command.kv().get())._1();
            if (!SETTINGS.contains(key.toLowerCase(Locale.ROOT))) throw refusal("SET " + key);
            Option value = (Option) ((Tuple2) command.kv().get())._2();
            // Of what is no number Spark says so itself.
            if (key.equalsIgnoreCase(SHUFFLE_PARTITIONS) && value.isDefined()
                && ((String) value.get()).trim().matches("\\d{1,18}"))
                checkPartitions(Long.parseLong(((String) value.get()).trim()));
        }

        private void checkPartitions(Option count) {
            if (count.isDefined()) checkPartitions(((Integer) count.get()).longValue());
        }

        private void checkPartitions(long count) {
            if (count > MOST_PARTITIONS)
                throw refusal(count + " partitions, more than " + MOST_PARTITIONS);
        }

        private void checkView(CreateViewCommand command) {
            boolean own = command.viewType().getClass().getSimpleName().equals("LocalTempView$");
            if (!own || ((TableIdentifier) command.name()).database().isDefined())
                throw refusal("a view that others see; a temporary view is allowed");
        }
    }

    /** Checks what Spark's own parser made of a statement. */
    private static final class Parser implements ParserInterface {
        private final ParserInterface parser;
        private final Check check;

        Parser(SparkSession root, ParserInterface parser) {
            this.parser = parser;
            this.check = new Check(root, null);
        }

        private Object checked(Object parsed) {
            check.apply(parsed);
            return parsed;
        }

        public LogicalPlan parsePlan(String text) throws ParseException {
            return (LogicalPlan) checked(parser.parsePlan(text));
        }

        public LogicalPlan parseQuery(String text) throws ParseException {
            return (LogicalPlan) checked(parser.parseQuery(text));
        }

        public Expression parseExpression(String text) throws ParseException {
            return (Expression) checked(parser.parseExpression(text));
        }

        public TableIdentifier parseTableIdentifier(String text) throws ParseException {
            return parser.parseTableIdentifier(text);
        }

        public FunctionIdentifier parseFunctionIdentifier(String text) throws ParseException {
            return parser.parseFunctionIdentifier(text);
        }

        public Seq parseMultipartIdentifier(String text) throws ParseException {
            return parser.parseMultipartIdentifier(text);
        }

        public StructType parseRoutineParam(String text) throws ParseException {
            return parser.parseRoutineParam(text);
        }

        public StructType parseTableSchema(String text) throws ParseException {
            return parser.parseTableSchema(text);
        }

        public DataType parseDataType(String text) throws ParseException {
            return parser.parseDataType(text);
        }
    }
}
