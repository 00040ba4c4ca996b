package lulc;

import java.util.Arrays;

import dev.ludovic.netlib.blas.BLAS;

import org.apache.spark.ml.linalg.BLAS$;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry$;
import org.apache.spark.sql.catalyst.expressions.And;
import org.apache.spark.sql.catalyst.expressions.Cast;
import org.apache.spark.sql.catalyst.expressions.Divide;
import org.apache.spark.sql.catalyst.expressions.EqualTo;
import org.apache.spark.sql.catalyst.expressions.EvalMode$;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;
import org.apache.spark.sql.catalyst.expressions.GreaterThan;
import org.apache.spark.sql.catalyst.expressions.If;
import org.apache.spark.sql.catalyst.expressions.LessThan;
import org.apache.spark.sql.catalyst.expressions.Literal;
import org.apache.spark.sql.catalyst.expressions.Literal$;
import org.apache.spark.sql.catalyst.expressions.Multiply;
import org.apache.spark.sql.catalyst.expressions.Nvl;
import org.apache.spark.sql.catalyst.expressions.Size;
import org.apache.spark.sql.catalyst.expressions.Sqrt;
import org.apache.spark.sql.catalyst.expressions.objects.Invoke;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.ObjectType;

import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/**
 * Functions of vectors, ARRAY of numbers, in SQL.
 *
 * They are expressions of Spark itself, which it compiles into the query: products are those of the
 * BLAS in Java that Spark brings. A function of higher order would take every number by itself.
 */
public final class VectorFunctions {
    private static final Seq NONE = seq(new Object[0]);

    private static final DataType FLOATS = new ArrayType(DataTypes.FloatType, true);

    /**
     * Adds cosine(a, b): null where a or b is null, both are unlike long, or the length of one is 0
     * or no number.
     */
    public void register(SparkSession session, String usage) {
        FunctionRegistry functions = session.sessionState().functionRegistry();
        FunctionIdentifier name = new FunctionIdentifier("cosine");
        if (functions.functionExists(name)) return;
        ExpressionInfo description = new ExpressionInfo(
            "lulc", null, "cosine", usage, "", "", "", "", "", "", "java_udf");
        functions.registerFunction(name, description, new AbstractFunction1() {
            public Object apply(Object arguments) {
                return cosine((Seq) arguments);
            }
        });
    }

    private static Expression cosine(Seq arguments) {
        if (arguments.size() != 2)
            throw new IllegalArgumentException("cosine takes two vectors: cosine(a, b)");
        Expression a = cast((Expression) arguments.apply(0), FLOATS);
        Expression b = cast((Expression) arguments.apply(1), FLOATS);
        Expression lengths = new Multiply(
            new Sqrt(cast(dot(a, a), DataTypes.DoubleType)),
            new Sqrt(cast(dot(b, b), DataTypes.DoubleType)));
        Expression none = Literal$.MODULE$.create(null, DataTypes.DoubleType);
        Expression zero = Literal$.MODULE$.apply(Double.valueOf(0));
        // Spark orders NaN above infinity, so that it would be the nearest of all.
        Expression infinity = Literal$.MODULE$.apply(Double.valueOf(Double.POSITIVE_INFINITY));
        Expression quotient = new If(
            new And(new GreaterThan(lengths, zero), new LessThan(lengths, infinity)),
            new Divide(cast(dot(a, b), DataTypes.DoubleType), lengths),
            none);
        Expression value =
            new If(new EqualTo(new Size(a, false), new Size(b, false)), quotient, none);
        // Spark heads a column by the whole expression, but what stands for another by its name.
        Expression shown =
            new Nvl((Expression) arguments.apply(0), (Expression) arguments.apply(1), value);
        shown.setTagValue(FunctionRegistry$.MODULE$.FUNC_ALIAS(), "cosine");
        return shown;
    }

    private static Expression cast(Expression value, DataType type) {
        return new Cast(value, type, Option.empty(), EvalMode$.MODULE$.LEGACY());
    }

    private static Expression dot(Expression a, Expression b) {
        Expression one = Literal$.MODULE$.apply(Integer.valueOf(1));
        // Not JavaBLAS.getInstance(): Janino calls no static method of an interface.
        Expression blas = new Invoke(
            new Literal(BLAS$.MODULE$, ObjectType.apply(BLAS$.class)), "javaBLAS",
            ObjectType.apply(BLAS.class), NONE, NONE, true, false, true);
        Object[] arguments = {new Size(a, false), floats(a), one, floats(b), one};
        return new Invoke(
            blas, "sdot", DataTypes.FloatType, seq(arguments), NONE, true, false, true);
    }

    private static Expression floats(Expression vector) {
        return new Invoke(
            vector, "toFloatArray", ObjectType.apply(float[].class), NONE, NONE,
            true, false, true);
    }

    private static Seq seq(Object[] parts) {
        return CollectionConverters.asScala(Arrays.asList(parts)).toSeq();
    }
}
