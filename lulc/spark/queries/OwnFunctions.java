package lulc;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry$;
import org.apache.spark.sql.catalyst.expressions.CaseWhen;
import org.apache.spark.sql.catalyst.expressions.Cast;
import org.apache.spark.sql.catalyst.expressions.EqualTo;
import org.apache.spark.sql.catalyst.expressions.EvalMode$;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;
import org.apache.spark.sql.catalyst.expressions.Literal;
import org.apache.spark.sql.catalyst.expressions.Literal$;
import org.apache.spark.sql.catalyst.expressions.NullIfZero;
import org.apache.spark.sql.catalyst.expressions.Nvl;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.execution.python.UserDefinedPythonFunction;
import org.apache.spark.sql.types.DataTypes;

import scala.Function1;
import scala.Option;
import scala.Tuple2;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/** Functions of this project in SQL, each with what DESCRIBE FUNCTION says of it. */
public final class OwnFunctions {
    private static final FunctionIdentifier AS_WKB = new FunctionIdentifier("st_asbinary");

    // A server never takes them.
    private static final int MOST_TEXTS = 100;

    private final Map firstTexts = new HashMap();

    /** Returns the texts, and nulls, that a function was last given as its first argument. */
    public synchronized List takeFirstTexts(String name) {
        List texts = (List) firstTexts.remove(name);
        return texts == null ? new ArrayList() : texts;
    }

    private synchronized void keepFirstText(String name, Object argument) {
        if (!(argument instanceof Literal)) return;
        List texts = (List) firstTexts.get(name);
        if (texts == null) firstTexts.put(name, texts = new ArrayList());
        Object value = ((Literal) argument).value();
        if (texts.size() < MOST_TEXTS) texts.add(value == null ? null : value.toString());
    }

    /** Adds a function of Python. It gets WKB where it is given a geometry of Sedona. */
    public void addPython(
        SparkSession session, final String name, final String usage, final int count,
        final UserDefinedPythonFunction function) {
        final FunctionRegistry functions = registry(session);
        add(functions, name, usage, new AbstractFunction1() {
            public Object apply(Object arguments) {
                check((Seq) arguments, count, usage);
                keepFirstText(name, ((Seq) arguments).apply(0));
                Object value = function.builder(withoutGeometries((Seq) arguments, functions));
                return named(name, (Seq) arguments, (Expression) value);
            }
        });
    }

    /** Adds a function from a whole number to its name, null where it has none. */
    public void addNames(
        SparkSession session, final String name, final String usage, final Map names) {
        add(registry(session), name, usage, new AbstractFunction1() {
            public Object apply(Object arguments) {
                check((Seq) arguments, 1, usage);
                Seq id = (Seq) arguments;
                return named(name, id, nameOf((Expression) id.apply(0), names));
            }
        });
    }

    private static void add(
        FunctionRegistry functions, String name, String usage, Function1 builder) {
        ExpressionInfo description = new ExpressionInfo(
            "lulc", null, name, usage, "", "", "", "", "", "", "python_udf");
        functions.registerFunction(new FunctionIdentifier(name), description, builder);
    }

    private static FunctionRegistry registry(SparkSession session) {
        return session.sessionState().functionRegistry();
    }

    private static void check(Seq arguments, int count, String usage) {
        if (arguments.size() != count)
            throw new IllegalArgumentException(
                arguments.size() + " arguments are given where " + count + " are taken: " + usage);
    }

    private static Seq withoutGeometries(Seq arguments, FunctionRegistry functions) {
        List plain = new ArrayList();
        for (scala.collection.Iterator each = arguments.iterator(); each.hasNext();) {
            Expression argument = (Expression) each.next();
            boolean isGeometry =
                argument.dataType().getClass().getSimpleName().startsWith("GeometryUDT");
            plain.add(isGeometry ? asWkb(argument, functions) : argument);
        }
        return seq(plain);
    }

    private static Object asWkb(Expression geometry, FunctionRegistry functions) {
        List argument = new ArrayList();
        argument.add(geometry);
        Function1 builder = (Function1) functions.lookupFunctionBuilder(AS_WKB).get();
        return builder.apply(seq(argument));
    }

    private static Expression nameOf(Expression id, Map names) {
        Expression number = new Cast(
            id, DataTypes.LongType, Option.empty(), EvalMode$.MODULE$.LEGACY());
        List branches = new ArrayList();
        for (Iterator entries = names.entrySet().iterator(); entries.hasNext();) {
            Map.Entry entry = (Map.Entry) entries.next();
            Long key = Long.valueOf(((Number) entry.getKey()).longValue());
            Expression isIt = new EqualTo(number, Literal$.MODULE$.apply(key));
            branches.add(new Tuple2(isIt, Literal$.MODULE$.apply(entry.getValue())));
        }
        Expression none = Literal$.MODULE$.create(null, DataTypes.StringType);
        return branches.isEmpty() ? none : new CaseWhen(seq(branches), Option.apply(none));
    }

    /** Heads a column by the function's name: Spark shows what stands for another as it was written. */
    private static Expression named(String name, Seq arguments, Expression value) {
        if (arguments.size() > 2) return value;
        Expression first = (Expression) arguments.apply(0);
        Expression shown = arguments.size() == 1
            ? (Expression) new NullIfZero(first, value)
            : (Expression) new Nvl(first, (Expression) arguments.apply(1), value);
        shown.setTagValue(FunctionRegistry$.MODULE$.FUNC_ALIAS(), name);
        return shown;
    }

    private static Seq seq(List parts) {
        return CollectionConverters.asScala(parts).toSeq();
    }
}
