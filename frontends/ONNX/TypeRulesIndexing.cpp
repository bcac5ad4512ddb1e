// Types of operators that move and select elements.
#include "frontends/ONNX/TypeRules.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
Types transpose(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  auto perm = node.integers("perm");
  if (!type)
    return one(node.inputs[0]);
  SmallVector<int64_t> order;
  if (perm)
    order = *perm;
  else
    for (int64_t i = type.getRank(); i-- > 0;)
      order.push_back(i);
  SmallVector<int64_t> sorted = order;
  llvm::sort(sorted);
  for (auto [i, at] : llvm::enumerate(sorted))
    if (at != static_cast<int64_t>(i))
      return node.emitError() << "perm is not a permutation of the dimensions";
  if (static_cast<int64_t>(order.size()) != type.getRank())
    return node.emitError()
           << "perm has " << order.size() << " entries for an input of rank "
           << type.getRank();
  SmallVector<int64_t> shape;
  for (int64_t at : order)
    shape.push_back(type.getDimSize(at));
  return one(tensor(shape, type.getElementType()));
}

Types concat(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  SmallVector<int64_t> shape;
  int64_t axis = 0;
  for (unsigned i = 0; i < node.inputs.size(); ++i) {
    RankedTensorType type = node.ranked(i);
    if (!type)
      return one(unranked(node.element(0)));
    if (i == 0) {
      auto at = axisOf(node, node.integer("axis", 0), type.getRank());
      if (failed(at))
        return failure();
      axis = *at;
      shape.assign(type.getShape().begin(), type.getShape().end());
      continue;
    }
    if (type.getRank() != static_cast<int64_t>(shape.size()))
      return node.emitError() << "joins inputs of rank " << shape.size()
                              << " and " << type.getRank();
    for (auto [d, size] : llvm::enumerate(type.getShape())) {
      int64_t &now = shape[d];
      bool unknown = ShapedType::isDynamic(now) || ShapedType::isDynamic(size);
      if (static_cast<int64_t>(d) == axis)
        now = unknown ? kDynamic : now + size;
      else if (!unknown && now != size)
        return node.emitError()
               << "joins along dimension " << axis << ", but dimension " << d
               << " has sizes " << now << " and " << size;
      else if (ShapedType::isDynamic(now))
        now = size;
    }
  }
  return one(tensor(shape, node.element(0)));
}

Types slice(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(node.inputs[0]);
  auto starts = node.integers("starts", 1), ends = node.integers("ends", 2);
  auto axes = node.integers("axes", 3), steps = node.value(4);
  bool axesUnknown =
      node.has(3) && (!axes || llvm::is_contained(*axes, kDynamic));
  SmallVector<int64_t> shape(type.getShape());
  if (axesUnknown || !starts || !ends) {
    // Which dimensions shrink may still be known.
    if (!axesUnknown && axes) {
      for (int64_t axis : *axes) {
        auto at = axisOf(node, axis, type.getRank());
        if (failed(at))
          return failure();
        shape[*at] = kDynamic;
      }
    } else {
      shape.assign(type.getRank(), kDynamic);
    }
    return one(tensor(shape, type.getElementType()));
  }
  for (size_t i = 0; i < starts->size(); ++i) {
    auto at = axisOf(node, axes ? (*axes)[i] : i, type.getRank());
    if (failed(at))
      return failure();
    int64_t size = type.getDimSize(*at);
    int64_t start = (*starts)[i],
            end = i < ends->size() ? (*ends)[i] : kDynamic;
    int64_t step = 1;
    if (node.has(4))
      step = steps && i < steps->size() ? (*steps)[i] : kDynamic;
    if (step == 0)
      return node.emitError() << "has step 0";
    if (ShapedType::isDynamic(size) || ShapedType::isDynamic(step) ||
        ShapedType::isDynamic(start) || ShapedType::isDynamic(end)) {
      shape[*at] = kDynamic;
      continue;
    }
    auto clamp = [&](int64_t v, int64_t low, int64_t high) {
      return std::clamp(v < 0 ? v + size : v, low, high);
    };
    int64_t count;
    if (step > 0)
      count = (clamp(end, 0, size) - clamp(start, 0, size) + step - 1) / step;
    else
      count =
          (clamp(end, -1, size - 1) - clamp(start, -1, size - 1) + step + 1) /
          step;
    shape[*at] = std::max<int64_t>(0, count);
  }
  return one(tensor(shape, type.getElementType()));
}

Types split(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return SmallVector<Type>(node.numOutputs, node.inputs[0]);
  auto at = axisOf(node, node.integer("axis", 0), type.getRank());
  if (failed(at))
    return failure();
  int64_t size = type.getDimSize(*at);
  SmallVector<int64_t> sizes(node.numOutputs, kDynamic);
  std::optional<PartialInts> given = node.integers("split", 1);
  if (given && given->size() == sizes.size()) {
    sizes.assign(given->begin(), given->end());
  } else if (given) {
    return node.emitError() << "has " << given->size() << " split sizes for "
                            << sizes.size() << " outputs";
  } else if (!node.has(1) && !ShapedType::isDynamic(size)) {
    int64_t part = llvm::divideCeil(size, sizes.size());
    for (auto [i, s] : llvm::enumerate(sizes))
      s = std::clamp<int64_t>(size - part * i, 0, part);
  }
  SmallVector<Type> types;
  for (int64_t s : sizes) {
    SmallVector<int64_t> shape(type.getShape());
    shape[*at] = s;
    types.push_back(tensor(shape, type.getElementType()));
  }
  return types;
}

Types gather(const NodeFacts &node) {
  RankedTensorType data = node.ranked(0), indices = node.ranked(1);
  if (!data || !indices)
    return one(unranked(node.element(0)));
  auto at = axisOf(node, node.integer("axis", 0), data.getRank());
  if (failed(at))
    return failure();
  SmallVector<int64_t> shape(data.getShape().take_front(*at));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, data.getShape().drop_front(*at + 1));
  return one(tensor(shape, data.getElementType()));
}

Types gatherElements(const NodeFacts &node) {
  return one(withElement(node.inputs[1], node.element(0)));
}

Types gatherND(const NodeFacts &node) {
  RankedTensorType data = node.ranked(0), indices = node.ranked(1);
  if (!data || !indices || indices.getRank() == 0 ||
      ShapedType::isDynamic(indices.getShape().back()))
    return one(unranked(node.element(0)));
  int64_t depth = indices.getShape().back();
  int64_t batch = node.integer("batch_dims", 0);
  if (batch + depth > data.getRank())
    return node.emitError() << "indexes " << depth << " dimensions after "
                            << batch << " batch dimensions of " << spell(data);
  SmallVector<int64_t> shape(indices.getShape().drop_back());
  llvm::append_range(shape, data.getShape().drop_front(batch + depth));
  return one(tensor(shape, data.getElementType()));
}

Types nonZero(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  return one(
      tensor({type ? std::max<int64_t>(1, type.getRank()) : kDynamic, kDynamic},
             IntegerType::get(node.context, 64)));
}

Types oneHot(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(unranked(node.element(2)));
  auto at = axisOf(node, node.integer("axis", -1), type.getRank() + 1);
  if (failed(at))
    return failure();
  int64_t depth = kDynamic;
  if (auto value = node.value(1); value && value->size() == 1)
    depth = (*value)[0];
  SmallVector<int64_t> shape(type.getShape());
  shape.insert(shape.begin() + *at, depth);
  return one(tensor(shape, node.element(2)));
}

Types tile(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(node.inputs[0]);
  SmallVector<int64_t> shape(type.getRank(), kDynamic);
  if (auto repeats = node.value(1)) {
    if (repeats->size() != shape.size())
      return node.emitError()
             << "has " << repeats->size() << " repeats for an input of rank "
             << shape.size();
    for (auto [i, size] : llvm::enumerate(shape))
      if ((*repeats)[i] == 1)
        size = type.getDimSize(i);
      else if ((*repeats)[i] != kDynamic && !type.isDynamicDim(i))
        size = (*repeats)[i] * type.getDimSize(i);
  }
  return one(tensor(shape, type.getElementType()));
}
} // namespace

void moe::onnx::addIndexingTypeRules(TypeRules &rules) {
  rules.add("Transpose", transpose);
  rules.add("Concat", concat);
  rules.add("Slice", slice);
  rules.add("Split", split);
  rules.add("Gather", gather);
  rules.add("GatherElements", gatherElements);
  rules.add("GatherND", gatherND);
  rules.add("NonZero", nonZero);
  rules.add("OneHot", oneHot);
  rules.add("Tile", tile);
}
