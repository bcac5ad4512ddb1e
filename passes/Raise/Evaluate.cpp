#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Matchers.h"
#include "passes/Raise/Evaluation.h"

using namespace mlir;
using namespace moe;
using namespace moe::evaluation;
using onnx::NodeOp;

HostTensor::HostTensor(ArrayRef<int64_t> shape, double fill, bool isInteger)
    : shape(shape.begin(), shape.end()), isInteger(isInteger) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  data.assign(static_cast<size_t>(count), fill);
}

bool moe::evaluation::readElements(ElementsAttr attribute, HostTensor &tensor) {
  auto elements = dyn_cast_or_null<DenseElementsAttr>(attribute);
  if (!elements)
    return false;
  tensor = HostTensor(elements.getType().getShape());
  Type type = elements.getElementType();
  size_t i = 0;
  if (isa<FloatType>(type)) {
    for (APFloat number : elements.getValues<APFloat>()) {
      bool lost;
      number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                     &lost);
      tensor.data[i++] = number.convertToDouble();
    }
    return true;
  }
  tensor.isInteger = true;
  bool isUnsigned = type.isUnsignedInteger() || type.isInteger(1);
  for (const APInt &number : elements.getValues<APInt>())
    tensor.data[i++] = isUnsigned ? static_cast<double>(number.getZExtValue())
                                  : static_cast<double>(number.getSExtValue());
  return true;
}

bool moe::readConstant(Value value, HostTensor &tensor, std::string &error) {
  ElementsAttr elements;
  if (matchPattern(value, m_Constant(&elements)) &&
      readElements(elements, tensor))
    return true;
  error = "needs the bytes of a weight";
  return false;
}

bool Evaluation::unary(StringRef name) {
  using F = double (*)(double);
  static const std::pair<StringRef, F> table[] = {
      {"Sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"Tanh", [](double x) { return std::tanh(x); }},
      {"Erf", [](double x) { return std::erf(x); }},
      {"Relu", [](double x) { return x > 0 ? x : 0; }},
      {"Exp", [](double x) { return std::exp(x); }},
      {"Log", [](double x) { return std::log(x); }},
      {"Sqrt", [](double x) { return std::sqrt(x); }},
      {"Neg", [](double x) { return -x; }},
      {"Cos", [](double x) { return std::cos(x); }},
      {"Sin", [](double x) { return std::sin(x); }},
      {"Abs", [](double x) { return std::abs(x); }},
      {"Floor", [](double x) { return std::floor(x); }},
      {"Ceil", [](double x) { return std::ceil(x); }},
      {"Reciprocal", [](double x) { return 1 / x; }},
      {"Softplus", [](double x) { return std::log1p(std::exp(x)); }},
      {"Not", [](double x) { return x == 0 ? 1.0 : 0.0; }},
      {"IsNaN", [](double x) { return std::isnan(x) ? 1.0 : 0.0; }},
      {"Identity", [](double x) { return x; }},
  };
  const auto *entry =
      llvm::find_if(table, [&](const auto &e) { return e.first == name; });
  std::function<double(double)> f;
  if (entry != std::end(table)) {
    f = entry->second;
  } else if (name == "Swish" || name == "QuickGelu") {
    double alpha = node.floatAttribute("alpha", name == "Swish" ? 1.0 : 1.702);
    f = [=](double x) { return x / (1 + std::exp(-alpha * x)); };
  } else if (name == "Gelu" || name == "FastGelu") {
    bool tanh = name == "FastGelu" ||
                node.stringAttribute("approximate", "none") == "tanh";
    if (input(1))
      return fail("a bias is not supported");
    f = [=](double x) {
      return tanh ? 0.5 * x *
                        (1 + std::tanh(std::sqrt(2 / M_PI) *
                                       (x + 0.044715 * x * x * x)))
                  : 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    };
  } else if (name == "Clip") {
    double low = -INFINITY, high = INFINITY;
    low = node.floatAttribute("min", low);
    high = node.floatAttribute("max", high);
    if (input(1))
      low = input(1)->data[0];
    if (input(2))
      high = input(2)->data[0];
    f = [=](double x) { return std::min(std::max(x, low), high); };
  } else if (name == "Cast") {
    auto type = dyn_cast<ShapedType>(node.getResult(0).getType());
    Type element = type ? type.getElementType() : Type();
    if (element && isa<FloatType>(element))
      f = [](double x) { return x; };
    else if (element && element.isInteger(1))
      f = [](double x) { return x != 0 ? 1.0 : 0.0; };
    else
      f = [](double x) { return std::trunc(x); };
    HostTensor tensor = *in[0];
    for (double &value : tensor.data)
      value = f(value);
    tensor.isInteger = !element || !isa<FloatType>(element);
    return give(std::move(tensor));
  } else {
    return fail("is not known to the evaluator");
  }
  HostTensor tensor = *in[0];
  for (double &value : tensor.data)
    value = f(value);
  return give(std::move(tensor));
}

bool Evaluation::binary(StringRef name) {
  using F = double (*)(double, double);
  struct Entry {
    StringRef name;
    F f;
    bool gives01;
  };
  static const Entry table[] = {
      {"Add", [](double a, double b) { return a + b; }, false},
      {"Sum", [](double a, double b) { return a + b; }, false},
      {"Sub", [](double a, double b) { return a - b; }, false},
      {"Mul", [](double a, double b) { return a * b; }, false},
      {"Div", [](double a, double b) { return a / b; }, false},
      {"Pow", [](double a, double b) { return std::pow(a, b); }, false},
      {"Min", [](double a, double b) { return std::min(a, b); }, false},
      {"Max", [](double a, double b) { return std::max(a, b); }, false},
      {"Equal", [](double a, double b) { return a == b ? 1.0 : 0; }, true},
      {"Less", [](double a, double b) { return a < b ? 1.0 : 0; }, true},
      {"LessOrEqual", [](double a, double b) { return a <= b ? 1.0 : 0; },
       true},
      {"Greater", [](double a, double b) { return a > b ? 1.0 : 0; }, true},
      {"GreaterOrEqual", [](double a, double b) { return a >= b ? 1.0 : 0; },
       true},
      {"And", [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0; },
       true},
      {"Or", [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0; },
       true},
      {"Xor", [](double a, double b) { return (a != 0) != (b != 0) ? 1.0 : 0; },
       true},
      {"Mod", [](double a, double b) { return a - std::floor(a / b) * b; },
       false},
  };
  const Entry *entry =
      llvm::find_if(table, [&](const Entry &e) { return e.name == name; });
  if (entry == std::end(table))
    return false;
  HostTensor result = *in[0];
  for (unsigned i = 1; i < in.size(); ++i) {
    Shape shape;
    if (!broadcastShape(result.shape, in[i]->shape, shape))
      return fail("shapes do not fit each other") || true;
    HostTensor next(shape, 0.0,
                    entry->gives01 || (result.isInteger && in[i]->isInteger));
    Shape a = broadcastStrides(result.shape, shape),
          b = broadcastStrides(in[i]->shape, shape);
    // Row by row: along the last dimension an operand advances or repeats.
    bool truncates = name == "Div" && next.isInteger;
    int64_t width = shape.empty() ? 1 : shape.back();
    int64_t stepA = shape.empty() ? 0 : a.back(),
            stepB = shape.empty() ? 0 : b.back();
    Shape rows(shape.begin(), shape.end() - (shape.empty() ? 0 : 1));
    Odometer at(rows);
    for (size_t to = 0; to < next.data.size(); at.step()) {
      const double *x = result.data.data() + offsetOf(at.index, a);
      const double *y = in[i]->data.data() + offsetOf(at.index, b);
      for (int64_t c = 0; c < width; ++c, ++to) {
        double divisor = y[c * stepB];
        if (truncates && divisor == 0)
          return fail("divides by zero") || true;
        double value = entry->f(x[c * stepA], divisor);
        next.data[to] = truncates ? std::trunc(value) : value;
      }
    }
    result = std::move(next);
  }
  return give(std::move(result));
}

bool Evaluation::where() {
  Shape shape, all;
  if (!broadcastShape(in[0]->shape, in[1]->shape, shape) ||
      !broadcastShape(shape, in[2]->shape, all))
    return fail("shapes do not fit each other");
  HostTensor result(all, 0.0, in[1]->isInteger);
  Shape c = broadcastStrides(in[0]->shape, all),
        a = broadcastStrides(in[1]->shape, all),
        b = broadcastStrides(in[2]->shape, all);
  Odometer at(all);
  for (double &value : result.data) {
    value = in[0]->data[offsetOf(at.index, c)] != 0
                ? in[1]->data[offsetOf(at.index, a)]
                : in[2]->data[offsetOf(at.index, b)];
    at.step();
  }
  return give(std::move(result));
}

bool Evaluation::softmax() {
  HostTensor result = *in[0];
  bool old = node.getVersion() < 13;
  int64_t at = axis(old ? 1 : -1, result.rank());
  if (at < 0 || at >= result.rank())
    return fail("axis out of range");
  Around around(result.shape, at);
  if (old) { // everything from the axis on is one row
    around.along *= around.inner;
    around.inner = 1;
  }
  for (int64_t o = 0; o < around.outer; ++o)
    for (int64_t i = 0; i < around.inner; ++i) {
      double top = -INFINITY, sum = 0;
      for (int64_t a = 0; a < around.along; ++a)
        top = std::max(top, result.data[around.at(o, a, i)]);
      for (int64_t a = 0; a < around.along; ++a)
        sum += std::exp(result.data[around.at(o, a, i)] - top);
      for (int64_t a = 0; a < around.along; ++a) {
        double &value = result.data[around.at(o, a, i)];
        value = std::exp(value - top) / sum;
      }
    }
  return give(std::move(result));
}

std::vector<int64_t> moe::sortedIndices(ArrayRef<double> values,
                                        bool largestFirst) {
  double lowest = largestFirst ? -INFINITY : INFINITY;
  auto key = [&](int64_t i) {
    return std::isnan(values[i]) ? lowest : values[i];
  };
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int64_t a, int64_t b) {
    double x = key(a), y = key(b);
    if (x != y)
      return largestFirst ? x > y : x < y;
    return a < b;
  });
  return order;
}

bool Evaluation::topK() {
  const HostTensor &data = *in[0];
  auto k = ints("k", 1);
  int64_t at = axis(-1, data.rank());
  if (!k || k->size() != 1 || at < 0 || at >= data.rank() || (*k)[0] < 0 ||
      (*k)[0] > data.shape[at])
    return fail("k or axis out of range");
  bool largest = node.intAttribute("largest", 1) != 0;
  Around from(data.shape, at);
  Shape shape = data.shape;
  shape[at] = (*k)[0];
  HostTensor values(shape, 0.0, data.isInteger), indices(shape, 0.0, true);
  Around to(shape, at);
  std::vector<double> row(from.along);
  for (int64_t o = 0; o < from.outer; ++o)
    for (int64_t i = 0; i < from.inner; ++i) {
      for (int64_t a = 0; a < from.along; ++a)
        row[a] = data.data[from.at(o, a, i)];
      std::vector<int64_t> order = sortedIndices(row, largest);
      for (int64_t a = 0; a < to.along; ++a) {
        values.data[to.at(o, a, i)] = data.data[from.at(o, order[a], i)];
        indices.data[to.at(o, a, i)] = static_cast<double>(order[a]);
      }
    }
  return give(std::move(values)) && give(std::move(indices));
}

bool Evaluation::argMax() {
  const HostTensor &data = *in[0];
  int64_t at = axis(0, data.rank());
  if (at < 0 || at >= data.rank() || data.shape[at] == 0)
    return fail("axis out of range");
  bool last = node.intAttribute("select_last_index", 0) != 0;
  Around from(data.shape, at);
  Shape shape = data.shape;
  shape[at] = 1;
  HostTensor result(shape, 0.0, true);
  for (int64_t o = 0; o < from.outer; ++o)
    for (int64_t i = 0; i < from.inner; ++i) {
      int64_t best = 0;
      for (int64_t a = 1; a < from.along; ++a) {
        double x = data.data[from.at(o, a, i)],
               y = data.data[from.at(o, best, i)];
        if (x > y || (last && x == y))
          best = a;
      }
      result.data[o * from.inner + i] = static_cast<double>(best);
    }
  if (node.intAttribute("keepdims", 1) == 0)
    result.shape.erase(result.shape.begin() + at);
  return give(std::move(result));
}

bool Evaluation::reduce(StringRef name) {
  const HostTensor &data = *in[0];
  auto given = ints("axes", 1);
  if ((!given || given->empty()) &&
      node.intAttribute("noop_with_empty_axes", 0) != 0)
    return give(data);
  llvm::SmallVector<bool> reduced(data.shape.size(), !given || given->empty());
  if (given)
    for (int64_t a : *given) {
      a = a < 0 ? a + data.rank() : a;
      if (a < 0 || a >= data.rank())
        return fail("axis out of range");
      reduced[a] = true;
    }
  Shape shape = data.shape;
  int64_t count = 1;
  for (size_t d = 0; d < shape.size(); ++d)
    if (reduced[d]) {
      count *= shape[d];
      shape[d] = 1;
    }
  bool max = name == "ReduceMax", min = name == "ReduceMin",
       prod = name == "ReduceProd";
  double start = max ? -INFINITY : min ? INFINITY : prod ? 1 : 0;
  HostTensor result(shape, start, data.isInteger);
  Shape strides = broadcastStrides(shape, data.shape);
  Odometer at(data.shape);
  for (double value : data.data) {
    double &to = result.data[offsetOf(at.index, strides)];
    if (max)
      to = std::max(to, value);
    else if (min)
      to = std::min(to, value);
    else if (prod)
      to *= value;
    else if (name == "ReduceL1")
      to += std::abs(value);
    else if (name == "ReduceL2" || name == "ReduceSumSquare")
      to += value * value;
    else
      to += value;
    at.step();
  }
  for (double &value : result.data) {
    if (name == "ReduceMean")
      value /= static_cast<double>(count);
    if (name == "ReduceL2")
      value = std::sqrt(value);
  }
  if (node.intAttribute("keepdims", 1) == 0) {
    Shape kept;
    for (size_t d = 0; d < shape.size(); ++d)
      if (!reduced[d])
        kept.push_back(shape[d]);
    result.shape = kept;
  }
  return give(std::move(result));
}

bool Evaluation::matMul() {
  HostTensor a = *in[0], b = *in[1];
  bool addedRow = a.rank() == 1, addedColumn = b.rank() == 1;
  if (addedRow)
    a.shape.insert(a.shape.begin(), 1);
  if (addedColumn)
    b.shape.push_back(1);
  if (a.rank() < 2 || b.rank() < 2)
    return fail("needs matrices");
  int64_t m = a.shape[a.rank() - 2], k = a.shape.back(), n = b.shape.back();
  if (b.shape[b.rank() - 2] != k)
    return fail("inner sizes " + Twine(k) + " and " +
                Twine(b.shape[b.rank() - 2]) + " differ");
  Shape batch, batchA(a.shape.begin(), a.shape.end() - 2),
      batchB(b.shape.begin(), b.shape.end() - 2);
  if (!broadcastShape(batchA, batchB, batch))
    return fail("batches do not fit each other");
  Shape shape = batch;
  shape.append({m, n});
  HostTensor result(shape);
  result.isInteger = a.isInteger;
  Shape sa = broadcastStrides(batchA, batch),
        sb = broadcastStrides(batchB, batch);
  Odometer at(batch);
  for (int64_t i = 0, count = product(batch); i < count; ++i, at.step()) {
    const double *pa = a.data.data() + offsetOf(at.index, sa) * m * k;
    const double *pb = b.data.data() + offsetOf(at.index, sb) * k * n;
    double *pc = result.data.data() + i * m * n;
    for (int64_t r = 0; r < m; ++r)
      for (int64_t j = 0; j < k; ++j)
        for (int64_t c = 0; c < n; ++c)
          pc[r * n + c] += pa[r * k + j] * pb[j * n + c];
  }
  if (addedRow)
    result.shape.erase(result.shape.end() - 2);
  if (addedColumn)
    result.shape.pop_back();
  return give(std::move(result));
}

bool Evaluation::gemm() {
  const HostTensor &a = *in[0], &b = *in[1];
  if (a.rank() != 2 || b.rank() != 2)
    return fail("needs matrices");
  bool ta = node.intAttribute("transA", 0) != 0,
       tb = node.intAttribute("transB", 0) != 0;
  double alpha = node.floatAttribute("alpha", 1),
         beta = node.floatAttribute("beta", 1);
  int64_t m = a.shape[ta], k = a.shape[!ta], n = b.shape[!tb];
  if (b.shape[tb] != k)
    return fail("inner sizes differ");
  HostTensor result(Shape{m, n});
  for (int64_t r = 0; r < m; ++r)
    for (int64_t c = 0; c < n; ++c)
      for (int64_t j = 0; j < k; ++j)
        result.data[r * n + c] += alpha * a.data[ta ? j * m + r : r * k + j] *
                                  b.data[tb ? c * k + j : j * n + c];
  if (const HostTensor *bias = input(2)) {
    Shape shape;
    if (!broadcastShape(result.shape, bias->shape, shape) ||
        shape != result.shape)
      return fail("bias does not fit");
    HostTensor wide = expand(*bias, shape);
    for (size_t i = 0; i < wide.data.size(); ++i)
      result.data[i] += beta * wide.data[i];
  }
  return give(std::move(result));
}

bool Evaluation::cumSum() {
  HostTensor result = *in[0];
  int64_t at = static_cast<int64_t>(in[1]->data[0]);
  at = at < 0 ? at + result.rank() : at;
  if (at < 0 || at >= result.rank())
    return fail("axis out of range");
  bool exclusive = node.intAttribute("exclusive", 0) != 0,
       reverse = node.intAttribute("reverse", 0) != 0;
  Around around(result.shape, at);
  for (int64_t o = 0; o < around.outer; ++o)
    for (int64_t i = 0; i < around.inner; ++i) {
      double sum = 0;
      for (int64_t a = 0; a < around.along; ++a) {
        double &value =
            result.data[around.at(o, reverse ? around.along - 1 - a : a, i)];
        double own = value;
        value = exclusive ? sum : sum + own;
        sum += own;
      }
    }
  return give(std::move(result));
}

bool Evaluation::run() {
  StringRef name = node.getOpType();
  if (!node.getDomain().empty() && node.getDomain() != "com.microsoft")
    return fail("is of an unknown domain");
  for (auto [i, tensor] : llvm::enumerate(in))
    if (!tensor && i == 0)
      return fail("has no first input");
  struct Entry {
    StringRef name;
    bool (Evaluation::*f)();
    unsigned inputs;
  };
  static const Entry table[] = {
      {"Where", &Evaluation::where, 3},
      {"Softmax", &Evaluation::softmax, 1},
      {"TopK", &Evaluation::topK, 1},
      {"ArgMax", &Evaluation::argMax, 1},
      {"MatMul", &Evaluation::matMul, 2},
      {"Gemm", &Evaluation::gemm, 2},
      {"Gather", &Evaluation::gather, 2},
      {"GatherElements", &Evaluation::gatherElements, 2},
      {"GatherND", &Evaluation::gatherND, 2},
      {"ScatterElements", &Evaluation::scatterElements, 3},
      {"ScatterND", &Evaluation::scatterND, 3},
      {"OneHot", &Evaluation::oneHot, 3},
      {"NonZero", &Evaluation::nonZero, 1},
      {"Split", &Evaluation::split, 1},
      {"Slice", &Evaluation::slice, 1},
      {"Concat", &Evaluation::concat, 1},
      {"Transpose", &Evaluation::transpose, 1},
      {"CumSum", &Evaluation::cumSum, 2},
      {"Tile", &Evaluation::tile, 1},
      {"Range", &Evaluation::range, 3},
  };
  for (const Entry &entry : table)
    if (entry.name == name) {
      for (unsigned i = 0; i < entry.inputs; ++i)
        if (!input(i))
          return fail("has too few inputs");
      return (this->*entry.f)();
    }
  if (name.starts_with("Reduce"))
    return reduce(name);
  if (name == "Reshape" || name == "Flatten" || name == "Squeeze" ||
      name == "Unsqueeze")
    return reshapes(name);
  if (name == "Shape" || name == "Size") {
    Shape shape = in[0]->shape;
    if (name == "Size")
      return give(
          HostTensor(Shape(), static_cast<double>(in[0]->size()), true));
    int64_t rank = in[0]->rank();
    int64_t start = node.intAttribute("start", 0),
            end = node.intAttribute("end", rank);
    auto clamp = [&](int64_t at) {
      return std::min(std::max<int64_t>(at < 0 ? at + rank : at, 0), rank);
    };
    start = clamp(start);
    end = std::max(clamp(end), start);
    HostTensor result({end - start}, 0.0, true);
    for (int64_t d = start; d < end; ++d)
      result.data[d - start] = static_cast<double>(shape[d]);
    return give(std::move(result));
  }
  if (name == "ConstantOfShape" || name == "Expand") {
    Shape shape;
    bool filled = name == "ConstantOfShape";
    for (double size : (filled ? in[0] : input(1) ? input(1) : in[0])->data)
      shape.push_back(static_cast<int64_t>(size));
    if (!filled) {
      Shape both;
      if (!broadcastShape(in[0]->shape, shape, both))
        return fail("shapes do not fit each other");
      return give(expand(*in[0], both));
    }
    HostTensor value(Shape{1});
    if (node.attribute("value") &&
        !readElements(dyn_cast<ElementsAttr>(node.attribute("value")), value))
      return fail("has an unreadable value");
    return give(HostTensor(shape, value.data[0], value.isInteger));
  }
  if (in.size() >= 2 || name == "Sum" || name == "Max" || name == "Min") {
    if (llvm::all_of(in, [](const HostTensor *t) { return t; }) && binary(name))
      return error.empty();
    if (!error.empty())
      return false;
  }
  return unary(name);
}

bool moe::evaluateNode(NodeOp node, ArrayRef<const HostTensor *> inputs,
                       SmallVectorImpl<HostTensor> &outputs,
                       std::string &error) {
  if (inputs.empty()) {
    error = (node.getOpType() + ": has no input").str();
    return false;
  }
  return Evaluation{node, inputs, outputs, error}.run();
}
