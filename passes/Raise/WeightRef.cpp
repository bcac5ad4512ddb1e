#include "passes/Raise/WeightRef.h"

#include "dialects/MoE/QuantisedBank.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

WeightRef WeightRef::at(int64_t dim, int64_t index) const {
  WeightRef view = *this;
  view.offset += index * strides[dim];
  view.shape.erase(view.shape.begin() + dim);
  view.strides.erase(view.strides.begin() + dim);
  return view;
}

WeightRef WeightRef::range(int64_t dim, int64_t start, int64_t count,
                           int64_t step) const {
  WeightRef view = *this;
  view.offset += start * strides[dim];
  view.shape[dim] = count;
  view.strides[dim] *= step;
  return view;
}

static bool isLeaf(Value value) {
  return isa_and_nonnull<onnx::ConstantOp, WeightOp>(value.getDefiningOp());
}

static ElementsAttr constantOf(Value value) {
  ElementsAttr elements;
  if (value && matchPattern(value, m_Constant(&elements)))
    return elements;
  return {};
}

std::optional<SmallVector<int64_t>> moe::constantInts(Value value) {
  while (value && !isLeaf(value)) {
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || !(node.is("Identity") || node.is("Cast") ||
                   node.is("Unsqueeze") || node.is("Squeeze")))
      return std::nullopt;
    value = node.input(0);
  }
  auto elements = dyn_cast_or_null<DenseElementsAttr>(constantOf(value));
  if (!elements || !elements.getElementType().isIntOrIndex())
    return std::nullopt;
  SmallVector<int64_t> values;
  for (const APInt &element : elements.getValues<APInt>())
    values.push_back(element.getSExtValue());
  return values;
}

std::optional<double> moe::constantFloat(Value value) {
  while (value && !isLeaf(value)) {
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || !(node.is("Identity") || node.is("Cast") ||
                   node.is("Unsqueeze") || node.is("Squeeze")))
      return std::nullopt;
    value = node.input(0);
  }
  auto elements = dyn_cast_or_null<DenseElementsAttr>(constantOf(value));
  if (!elements || elements.getNumElements() != 1 ||
      !isa<FloatType>(elements.getElementType()))
    return std::nullopt;
  APFloat number = *elements.getValues<APFloat>().begin();
  bool lost;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return number.convertToDouble();
}

/// Ints of attribute `name`, or of input `index` in newer operator versions.
static std::optional<SmallVector<int64_t>> axesOf(NodeOp node, StringRef name,
                                                  unsigned index) {
  if (node.attribute(name))
    return node.intsAttribute(name);
  if (Value input = node.input(index))
    return constantInts(input);
  return std::nullopt;
}

static int64_t normalized(int64_t axis, int64_t rank) {
  return axis < 0 ? axis + rank : axis;
}

/// The view in another shape of as many elements: dimensions may be split,
/// and merged where they lie one after the other.
static WeightRef reshaped(const WeightRef &ref, ArrayRef<int64_t> shape) {
  WeightRef view = ref;
  view.shape.assign(shape.begin(), shape.end());
  view.strides.assign(shape.size(), 0);
  size_t from = 0, to = 0;
  while (from < ref.shape.size() || to < shape.size()) {
    // A run of dimensions on either side with equal products.
    size_t fromEnd = from, toEnd = to;
    int64_t a = 1, b = 1;
    if (fromEnd < ref.shape.size())
      a = ref.shape[fromEnd++];
    if (toEnd < shape.size())
      b = shape[toEnd++];
    while (a != b) {
      if (a < b && fromEnd < ref.shape.size())
        a *= ref.shape[fromEnd++];
      else if (b < a && toEnd < shape.size())
        b *= shape[toEnd++];
      else
        return {};
    }
    int64_t inner = 0;
    for (size_t d = fromEnd; d-- > from;) {
      if (ref.shape[d] == 1)
        continue;
      if (inner && ref.strides[d] != inner)
        return {};
      inner = ref.strides[d] * ref.shape[d];
    }
    int64_t stride = 1;
    for (size_t d = fromEnd; d-- > from;)
      if (ref.shape[d] != 1) {
        stride = ref.strides[d];
        break;
      }
    for (size_t d = toEnd; d-- > to; stride *= shape[d])
      view.strides[d] = stride;
    from = fromEnd;
    to = toEnd;
  }
  return view;
}

bool moe::isWhole(const WeightRef &ref) {
  return ref.offset == 0 && llvm::equal(ref.shape, ref.rootType().getShape()) &&
         ref.strides == resolveWeight(ref.root).strides;
}

static WeightRef throughGather(NodeOp node, const WeightRef &data) {
  auto indices = constantInts(node.input(1));
  auto type = dyn_cast<RankedTensorType>(node.getInputs()[1].getType());
  if (!indices || indices->size() != 1 || !type)
    return {};
  int64_t axis = normalized(node.intAttribute("axis", 0), data.rank());
  int64_t index = normalized((*indices)[0], data.shape[axis]);
  if (index < 0 || index >= data.shape[axis])
    return {};
  if (type.getRank() == 0)
    return data.at(axis, index);
  return type.getRank() == 1 ? data.range(axis, index, 1, 1) : WeightRef();
}

static WeightRef throughSlice(NodeOp node, const WeightRef &data) {
  auto starts = axesOf(node, "starts", 1), ends = axesOf(node, "ends", 2);
  if (!starts || !ends)
    return {};
  SmallVector<int64_t> axes, steps(starts->size(), 1);
  if (node.attribute("axes") || node.input(3)) {
    auto given = axesOf(node, "axes", 3);
    if (!given)
      return {};
    axes = *given;
  } else {
    for (size_t i = 0; i < starts->size(); ++i)
      axes.push_back(static_cast<int64_t>(i));
  }
  if (node.input(4)) {
    auto given = constantInts(node.input(4));
    if (!given)
      return {};
    steps = *given;
  }
  WeightRef view = data;
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = normalized(axes[i], data.rank());
    int64_t size = data.shape[axis], step = steps[i];
    if (step <= 0)
      return {};
    auto clamp = [&](int64_t at) {
      at = at < 0 ? at + size : at;
      return std::min(std::max<int64_t>(at, 0), size);
    };
    int64_t start = clamp((*starts)[i]), stop = clamp((*ends)[i]);
    if (start >= stop)
      return {};
    view = view.range(axis, start, (stop - start + step - 1) / step, step);
  }
  return view;
}

static WeightRef throughSplit(NodeOp node, unsigned result,
                              const WeightRef &data) {
  int64_t axis = normalized(node.intAttribute("axis", 0), data.rank());
  int64_t parts = static_cast<int64_t>(node.getNumResults());
  SmallVector<int64_t> sizes;
  if (auto given = axesOf(node, "split", 1)) {
    sizes = *given;
  } else {
    int64_t each = (data.shape[axis] + parts - 1) / parts;
    for (int64_t left = data.shape[axis]; left > 0; left -= each)
      sizes.push_back(std::min(each, left));
  }
  if (result >= sizes.size())
    return {};
  int64_t start = 0;
  for (unsigned i = 0; i < result; ++i)
    start += sizes[i];
  return data.range(axis, start, sizes[result], 1);
}

static WeightRef throughReshape(NodeOp node, const WeightRef &data) {
  int64_t count = 1;
  for (int64_t size : data.shape)
    count *= size;
  if (auto shape = constantInts(node.input(1))) {
    int64_t known = 1, open = -1;
    for (size_t i = 0; i < shape->size(); ++i) {
      if ((*shape)[i] == 0 && node.intAttribute("allowzero", 0) == 0 &&
          i < data.shape.size())
        (*shape)[i] = data.shape[i];
      if ((*shape)[i] < 0)
        open = static_cast<int64_t>(i);
      else
        known *= (*shape)[i];
    }
    if (open >= 0 && known > 0)
      (*shape)[open] = count / known;
    return reshaped(data, *shape);
  }
  auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
  return type && type.hasStaticShape() ? reshaped(data, type.getShape())
                                       : WeightRef();
}

WeightRef moe::resolveWeight(Value value) {
  if (isLeaf(value)) {
    WeightRef ref;
    ref.root = value;
    auto type = cast<RankedTensorType>(value.getType());
    ref.shape.assign(type.getShape().begin(), type.getShape().end());
    ref.strides.resize(ref.shape.size());
    int64_t stride = 1;
    for (size_t d = ref.shape.size(); d-- > 0; stride *= ref.shape[d])
      ref.strides[d] = stride;
    return ref;
  }
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || !node.getDomain().empty() || !node.input(0))
    return {};
  StringRef name = node.getOpType();
  if (!llvm::is_contained({"Identity", "Cast", "Transpose", "Gather", "Slice",
                           "Split", "Squeeze", "Unsqueeze", "Reshape",
                           "Flatten"},
                          name))
    return {};
  WeightRef data = resolveWeight(node.input(0));
  if (!data)
    return {};
  auto result = dyn_cast<RankedTensorType>(value.getType());
  if (name == "Identity")
    return data;
  if (name == "Cast")
    return result && isa<FloatType>(result.getElementType()) &&
                   isa<FloatType>(data.rootType().getElementType())
               ? data
               : WeightRef();
  if (name == "Transpose") {
    SmallVector<int64_t> perm = node.intsAttribute("perm");
    WeightRef view = data;
    for (int64_t i = 0; i < data.rank(); ++i) {
      int64_t from = perm.empty() ? data.rank() - 1 - i : perm[i];
      view.shape[i] = data.shape[from];
      view.strides[i] = data.strides[from];
    }
    return view;
  }
  if (name == "Gather")
    return throughGather(node, data);
  if (name == "Slice")
    return throughSlice(node, data);
  if (name == "Split")
    return throughSplit(node, cast<OpResult>(value).getResultNumber(), data);
  if (name == "Reshape")
    return throughReshape(node, data);
  return result && result.hasStaticShape() ? reshaped(data, result.getShape())
                                           : WeightRef();
}

FlatSymbolRefAttr BankNames::bankOf(Value root) {
  if (auto weight = root.getDefiningOp<WeightOp>())
    return weight.getBankAttr();
  FlatSymbolRefAttr &bank = banks[root];
  if (bank)
    return bank;
  auto constant = root.getDefiningOp<onnx::ConstantOp>();
  OpBuilder builder(module.getContext());
  // The importer's location names the initializer.
  StringRef name = "weight";
  if (auto location = dyn_cast<NameLoc>(constant.getLoc()))
    if (!location.getName().empty())
      name = location.getName().getValue();
  auto op =
      BankOp::create(builder, constant.getLoc(), builder.getStringAttr(name),
                     StringAttr(), StringAttr(), IntegerAttr(), IntegerAttr(),
                     constant.getValue(), TypeAttr::get(constant.getType()));
  bank = FlatSymbolRefAttr::get(symbols.insert(op, module.getBody()->begin()));
  return bank;
}

SliceAttr BankNames::slice(const WeightRef &ref) {
  ArrayRef<int64_t> shape = ref.rootType().getShape();
  size_t rank = shape.size();
  SmallVector<int64_t> strides(rank), starts(rank), kept(rank, -1);
  int64_t stride = 1;
  for (size_t d = rank; d-- > 0; stride *= shape[d])
    strides[d] = stride;
  int64_t rest = ref.offset;
  for (size_t d = 0; d < rank; ++d) {
    starts[d] = rest / strides[d];
    rest %= strides[d];
  }
  for (int64_t v = 0; v < ref.rank(); ++v) {
    bool found = false;
    for (size_t d = 0; d < rank && !found; ++d) {
      if (kept[d] >= 0 || ref.strides[v] % strides[d] != 0)
        continue;
      int64_t step = ref.strides[v] / strides[d];
      if (step < 1 || starts[d] + (ref.shape[v] - 1) * step >= shape[d])
        continue;
      kept[d] = v;
      found = true;
    }
    if (!found)
      return {};
  }
  SmallVector<int64_t> ranges, order;
  for (size_t d = 0; d < rank; ++d) {
    if (kept[d] < 0) {
      ranges.append({starts[d], starts[d] + 1, 0});
      continue;
    }
    int64_t v = kept[d], step = ref.strides[v] / strides[d];
    int64_t stop = std::min(starts[d] + ref.shape[v] * step, shape[d]);
    order.push_back(v);
    if (starts[d] == 0 && step == 1 && stop == shape[d])
      ranges.append({0, ShapedType::kDynamic, 1});
    else
      ranges.append({starts[d], stop, step});
  }
  while (ranges.size() >= 3 && ranges[ranges.size() - 3] == 0 &&
         ShapedType::isDynamic(ranges[ranges.size() - 2]))
    ranges.truncate(ranges.size() - 3);
  bool transposed = order.size() == 2 && order[0] == 1;
  return SliceAttr::get(bankOf(ref.root), ranges, transposed);
}

SliceAttr BankNames::storedSlice(const WeightRef &ref) {
  SliceAttr plain = slice(ref);
  SliceAttr stored =
      plain ? quantisedSlice(plain,
                             symbols.lookup<BankOp>(plain.getBank().getValue()))
            : SliceAttr();
  return stored ? stored : plain;
}

Value BankNames::derive(OpBuilder &builder, Location loc, StringRef from,
                        Attribute recipe, RankedTensorType type) {
  OpBuilder free(module.getContext());
  auto op = BankOp::create(free, loc, free.getStringAttr(from + ".dequantised"),
                           StringAttr(), StringAttr(), IntegerAttr(),
                           IntegerAttr(), recipe, TypeAttr::get(type));
  auto name =
      FlatSymbolRefAttr::get(symbols.insert(op, module.getBody()->begin()));
  return WeightOp::create(builder, loc, type, name).getResult();
}

void BankNames::eraseUnused() {
  llvm::DenseSet<StringAttr> used;
  module.walk([&](Operation *op) {
    op->getAttrDictionary().walk(
        [&](FlatSymbolRefAttr name) { used.insert(name.getAttr()); });
  });
  for (auto &[root, bank] : banks)
    if (bank && !used.contains(bank.getAttr()))
      if (Operation *op = symbols.lookup(bank.getValue()))
        symbols.erase(op);
}
