#include "passes/Raise/ContribMoE.h"
#include "mlir/IR/Builders.h"
#include "passes/Raise/ExpertBody.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

bool moe::isContribMoE(NodeOp node) {
  return node.is("com.microsoft", "MoE") || node.is("com.microsoft", "QMoE");
}

namespace {
/// One of fc1, fc2, fc3 with all that belongs to it.
struct Layer {
  WeightRef weight, bias, scales, zeros;
  explicit operator bool() const { return static_cast<bool>(weight); }
};

struct Reader {
  NodeOp node;
  BankNames &banks;
  bool quantised;
  int64_t experts = 0, hidden = 0, inner = 0;
  int64_t bits = 0, block = 0;
  Layer fc1, fc2, fc3;
  bool legacy = false;

  LogicalResult fail(const Twine &what) {
    return node.emitError(node.getOpType()) << ": " << what;
  }
  int64_t pack() const { return quantised && bits < 8 ? 8 / bits : 1; }

  LogicalResult readInputs();
  LogicalResult readLayer(Layer &layer, StringRef name, int weight, int scales,
                          int bias, int zeros);
  LogicalResult readLayout();
  LogicalResult checkShape(const WeightRef &ref, ArrayRef<int64_t> shape,
                           const Twine &what);
  LogicalResult checkQuant(Layer &layer, StringRef name, int64_t rows,
                           int64_t columns);
  LogicalResult unpackZeros(Layer &layer, StringRef name, int64_t rows,
                            int64_t blocks);
  SliceAttr matrix(const Layer &layer, int64_t expert, int64_t start,
                   int64_t count, int64_t step, int64_t columns);
  SliceAttr bias(const Layer &layer, int64_t expert, int64_t start,
                 int64_t count, int64_t step);
  LogicalResult readExperts(MoELayerMatch &match);
  LogicalResult readGate(MoELayerMatch &match);
};
} // namespace

LogicalResult Reader::readLayer(Layer &layer, StringRef name, int weight,
                                int scales, int bias, int zeros) {
  auto constant = [&](int index, WeightRef &ref,
                      const Twine &what) -> LogicalResult {
    if (index < 0 || !node.input(index))
      return success();
    ref = resolveWeight(node.input(index));
    return ref ? success()
               : fail(name + what + " is computed, expected a constant");
  };
  if (failed(constant(weight, layer.weight, " weights")) || !layer)
    return failure(!layer && node.input(weight));
  if (layer.weight.rank() != 3)
    return fail(name + " weights have rank " + Twine(layer.weight.rank()) +
                ", expected (experts, out, in)");
  if (failed(constant(scales, layer.scales, "_scales")) ||
      failed(constant(bias, layer.bias, " bias")) ||
      failed(constant(zeros, layer.zeros, "_zero_points")))
    return failure();
  if (quantised && !layer.scales)
    return fail(name + " has no scales");
  return success();
}

LogicalResult Reader::readInputs() {
  quantised = node.getOpType() == "QMoE";
  auto input = dyn_cast_or_null<RankedTensorType>(
      node.input(0) ? node.input(0).getType() : Type());
  auto logits = dyn_cast_or_null<RankedTensorType>(
      node.input(1) ? node.input(1).getType() : Type());
  if (!input || !logits || input.getRank() < 2 || logits.getRank() < 2)
    return fail("needs an input and router logits of known rank");
  hidden = input.getShape().back();
  if (ShapedType::isDynamic(hidden))
    return fail("the hidden size of the input is unknown");
  if (quantised) {
    bits = node.intAttribute("expert_weight_bits", 4);
    block = std::max<int64_t>(node.intAttribute("block_size", 0), 0);
    StringRef type = node.stringAttribute("quant_type", "int");
    if (type != "int")
      return fail("quant_type '" + type + "' is not supported, expected 'int'");
    if (bits != 2 && bits != 4 && bits != 8)
      return fail("expert_weight_bits is " + Twine(bits) +
                  ", expected 2, 4 or 8");
    if (node.intAttribute("weights_prepacked", -1) == 1)
      return fail("weights_prepacked is 1: the bytes are in a provider's own "
                  "layout; export the model with raw weights");
    for (unsigned i = 15; i < node.getInputs().size(); ++i)
      if (node.input(i))
        return fail("input " + Twine(i) +
                    " (global or activation scales) goes with float "
                    "quantisation, which is not supported");
  }
  if (failed(quantised ? readLayer(fc1, "fc1", 2, 3, 4, 11)
                       : readLayer(fc1, "fc1", 2, -1, 3, -1)) ||
      failed(quantised ? readLayer(fc2, "fc2", 5, 6, 7, 12)
                       : readLayer(fc2, "fc2", 4, -1, 5, -1)) ||
      failed(quantised ? readLayer(fc3, "fc3", 8, 9, 10, 13)
                       : readLayer(fc3, "fc3", 6, -1, 7, -1)))
    return failure();
  if (!fc1 || !fc2)
    return fail("needs fc1 and fc2 weights");
  experts = fc1.weight.shape[0];
  int64_t columns = logits.getShape().back();
  if (!ShapedType::isDynamic(columns) && columns != experts)
    return fail("the router scores " + Twine(columns) + " experts, fc1 has " +
                Twine(experts));
  return success();
}

LogicalResult Reader::checkShape(const WeightRef &ref, ArrayRef<int64_t> shape,
                                 const Twine &what) {
  if (!ref || llvm::equal(ref.shape, shape))
    return success();
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << what << " have shape (";
  llvm::interleaveComma(ref.shape, stream);
  stream << "), expected (";
  llvm::interleaveComma(shape, stream);
  stream << ")";
  return fail(text);
}

/// Recognises (out, in) weights, and those of older tools by their shape.
LogicalResult Reader::readLayout() {
  bool fused =
      node.stringAttribute("activation_type", "relu") == "swiglu" && !fc3;
  int64_t factor = fused ? 2 : 1, packed = pack();
  auto is = [&](const Layer &layer, int64_t rows, int64_t columns) {
    return layer.weight.shape[1] == rows && layer.weight.shape[2] == columns;
  };
  inner = fc2.weight.shape[2] * packed;
  if (is(fc1, factor * inner, hidden / packed) &&
      is(fc2, hidden, inner / packed))
    return success();
  if (quantised) {
    int64_t rows = fc1.weight.shape[2] * packed;
    if (fc1.weight.shape[1] == hidden && rows % factor == 0)
      return fail("fc1 weights have the shape (experts, in, out / " +
                  Twine(packed) +
                  ") of a provider's prepacked layout; export the model with "
                  "raw weights (weights_prepacked 0)");
  } else {
    inner = fc2.weight.shape[1];
    if (is(fc1, hidden, factor * inner) && is(fc2, inner, hidden)) {
      legacy = true;
      for (Layer *layer : {&fc1, &fc2, &fc3})
        if (*layer) {
          std::swap(layer->weight.shape[1], layer->weight.shape[2]);
          std::swap(layer->weight.strides[1], layer->weight.strides[2]);
        }
      return success();
    }
    inner = fc2.weight.shape[2];
  }
  if (failed(checkShape(fc2.weight, {experts, hidden, inner / packed},
                        "fc2 weights")))
    return failure();
  return checkShape(fc1.weight, {experts, factor * inner, hidden / packed},
                    "fc1 weights");
}

/// Zero points below 8 bits are packed (rows, or blocks of a row, low bits
/// first); the pool wants them one to a byte.
LogicalResult Reader::unpackZeros(Layer &layer, StringRef name, int64_t rows,
                                  int64_t blocks) {
  int64_t packed = pack();
  SmallVector<int64_t> shape = {experts, rows};
  if (block)
    shape.push_back(blocks);
  SmallVector<int64_t> stored = shape;
  stored.back() = (stored.back() + packed - 1) / packed;
  if (failed(checkShape(layer.zeros, stored, name + "_zero_points")))
    return failure();
  if (packed == 1)
    return success();
  auto constant = layer.zeros.root.getDefiningOp<onnx::ConstantOp>();
  auto bytes = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                        : DenseElementsAttr();
  if (!bytes || !llvm::equal(layer.zeros.rootType().getShape(), stored))
    return fail(name + "_zero_points are too large to unpack here");
  SmallVector<uint8_t> unpacked;
  SmallVector<APInt> values(bytes.getValues<APInt>());
  int64_t width = shape.back(), storedWidth = stored.back();
  for (size_t row = 0; row * storedWidth < values.size(); ++row)
    for (int64_t c = 0; c < width; ++c) {
      uint64_t byte = values[row * storedWidth + c / packed].getZExtValue();
      unpacked.push_back((byte >> (c % packed * bits)) & ((1u << bits) - 1));
    }
  OpBuilder builder(constant);
  auto type = RankedTensorType::get(
      shape, IntegerType::get(builder.getContext(), 8, IntegerType::Unsigned));
  auto op = onnx::ConstantOp::create(
      builder, constant.getLoc(),
      DenseElementsAttr::get(type, ArrayRef<uint8_t>(unpacked)));
  layer.zeros = resolveWeight(op.getResult());
  return success();
}

LogicalResult Reader::checkQuant(Layer &layer, StringRef name, int64_t rows,
                                 int64_t columns) {
  if (!layer)
    return success();
  if (failed(checkShape(layer.bias, {experts, rows}, name + " biases")))
    return failure();
  if (!quantised)
    return success();
  int64_t blocks = block ? (columns + block - 1) / block : 1;
  // One block per row may be written either way.
  if (layer.scales.rank() == 3 && blocks == 1 && layer.scales.shape[2] == 1)
    layer.scales = layer.scales.at(2, 0);
  SmallVector<int64_t> shape = {experts, rows};
  if (blocks > 1)
    shape.push_back(blocks);
  if (failed(checkShape(layer.scales, shape, name + "_scales")))
    return failure();
  return layer.zeros ? unpackZeros(layer, name, rows, blocks) : success();
}

SliceAttr Reader::matrix(const Layer &layer, int64_t expert, int64_t start,
                         int64_t count, int64_t step, int64_t columns) {
  auto slice = [&](const WeightRef &ref) {
    return banks.slice(ref.at(0, expert).range(0, start, count, step));
  };
  SliceAttr weight = slice(layer.weight);
  if (!quantised || !weight)
    return weight;
  bool blocked = layer.scales.rank() == 3;
  SliceAttr scales = slice(layer.scales);
  SliceAttr zeros = layer.zeros ? slice(layer.zeros) : SliceAttr();
  auto quant = QuantAttr::get(node.getContext(), bits, blocked ? block : 0,
                              scales, zeros);
  return SliceAttr::get(node.getContext(), weight.getBank(), weight.getRanges(),
                        weight.getTransposed(), quant);
}

SliceAttr Reader::bias(const Layer &layer, int64_t expert, int64_t start,
                       int64_t count, int64_t step) {
  if (!layer.bias)
    return {};
  return banks.slice(layer.bias.at(0, expert).range(0, start, count, step));
}

LogicalResult Reader::readExperts(MoELayerMatch &match) {
  StringRef type = node.stringAttribute("activation_type", "relu");
  ActivationMatch &act = match.activation;
  bool swiglu = type == "swiglu", fused = swiglu && !fc3;
  if (swiglu || type == "silu")
    act.activation = Activation::Silu;
  else if (type == "relu")
    act.activation = Activation::Relu;
  else if (type == "gelu")
    act.activation = Activation::GeluTanh;
  else if (type != "identity")
    return fail("activation_type '" + type +
                "' is unknown, expected relu, gelu, silu, swiglu or identity");
  if (swiglu) {
    act.alpha = node.floatAttribute("activation_alpha", 1.0);
    act.beta = node.floatAttribute("activation_beta", 0.0);
    act.limit = node.floatAttribute("swiglu_limit", 0.0);
  }
  act.kind = fused || fc3 ? ExpertKind::Glu : ExpertKind::Ffn;
  int64_t rows = fused ? 2 * inner : inner;
  if (failed(checkQuant(fc1, "fc1", rows, hidden)) ||
      failed(checkQuant(fc2, "fc2", hidden, inner)) ||
      failed(checkQuant(fc3, "fc3", inner, hidden)))
    return failure();
  if (fc3 && failed(checkShape(fc3.weight, {experts, inner, hidden / pack()},
                               "fc3 weights")))
    return failure();
  // Fused rows are halves with swiglu_fusion 2, else they alternate.
  int64_t fusion = node.intAttribute("swiglu_fusion", 0);
  int64_t step = fused && fusion != 2 ? 2 : 1;
  int64_t second = fusion == 2 ? inner : 1;
  for (int64_t e = 0; e < experts; ++e) {
    ExpertMatch expert;
    if (act.kind == ExpertKind::Glu) {
      expert.gate = matrix(fc1, e, 0, inner, step, hidden);
      expert.gateBias = bias(fc1, e, 0, inner, step);
      expert.up = fc3 ? matrix(fc3, e, 0, inner, 1, hidden)
                      : matrix(fc1, e, second, inner, step, hidden);
      expert.upBias =
          fc3 ? bias(fc3, e, 0, inner, 1) : bias(fc1, e, second, inner, step);
      if (!expert.gate)
        return fail("the gate weights of expert " + Twine(e) +
                    " are not a slice of one tensor");
    } else {
      expert.up = matrix(fc1, e, 0, inner, 1, hidden);
      expert.upBias = bias(fc1, e, 0, inner, 1);
    }
    expert.down = matrix(fc2, e, 0, hidden, 1, inner);
    expert.downBias = bias(fc2, e, 0, hidden, 1);
    if (!expert.up || !expert.down)
      return fail("the weights of expert " + Twine(e) +
                  " are not slices of one tensor");
    match.experts.push_back(expert);
  }
  return success();
}

LogicalResult Reader::readGate(MoELayerMatch &match) {
  GateMatch &gate = match.gate;
  gate.topK = node.intAttribute("k", 1);
  if (gate.topK < 1 || gate.topK > experts)
    return fail("k is " + Twine(gate.topK) + ", but there are " +
                Twine(experts) + " experts");
  bool normalize = node.intAttribute("normalize_routing_weights", 0) != 0;
  if (node.intAttribute("num_shared_experts", 0) != 0)
    return fail("num_shared_experts is not supported");
  match.router = matchRouter(node.input(1));
  if (match.router.input && haveSameRows(match.router.input, match.tokens))
    match.router.input = match.tokens;
  if (node.intAttribute("use_sparse_mixer", 0) != 0) {
    if (gate.topK != 2)
      return fail("use_sparse_mixer needs k 2, not " + Twine(gate.topK));
    gate.score = Score::None;
    gate.sparseMixer = 0.02;
    return success();
  }
  if (quantised && node.input(14)) {
    // Chosen by the logits, weighted by values of their own.
    gate.score = Score::None;
    if (node.input(14) != node.input(1))
      gate.values = node.input(14);
  } else {
    gate.score = Score::Softmax;
  }
  gate.norm = normalize ? Norm::Selected : Norm::None;
  return success();
}

FailureOr<MoELayerMatch> moe::matchContribMoE(NodeOp node, BankNames &banks) {
  Reader reader{node, banks, false, 0, 0, 0, 0, 0, {}, {}, {}, false};
  MoELayerMatch match;
  match.encoding = "contrib-op";
  match.tokens = node.input(0);
  match.output = node.getResult(0);
  if (failed(reader.readInputs()) || failed(reader.readLayout()) ||
      failed(reader.readExperts(match)) || failed(reader.readGate(match)))
    return failure();
  return match;
}
