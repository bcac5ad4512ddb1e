// Types of operators that make or change shapes.
#include "dialects/Onnx/Indexing.h"
#include "frontends/ONNX/TypeRules.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
Types shapeOp(const NodeFacts &node) {
  Type i64 = IntegerType::get(node.context, 64);
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(tensor({kDynamic}, i64));
  int64_t rank = type.getRank();
  int64_t start = clampIndex(node.integer("start", 0), rank);
  int64_t end = clampIndex(node.integer("end", rank), rank);
  return one(tensor({std::max<int64_t>(0, end - start)}, i64));
}

Types sizeOp(const NodeFacts &node) {
  return one(tensor({}, IntegerType::get(node.context, 64)));
}

Types constantOfShape(const NodeFacts &node) {
  Type element = Float32Type::get(node.context);
  if (auto value = dyn_cast_or_null<ElementsAttr>(node.attributes.get("value")))
    element = value.getElementType();
  if (auto sizes = node.value(0))
    return one(tensor(*sizes, element));
  RankedTensorType type = node.ranked(0);
  if (!type || type.getRank() != 1 || type.isDynamicDim(0))
    return one(unranked(element));
  return one(
      tensor(SmallVector<int64_t>(type.getDimSize(0), kDynamic), element));
}

Types range(const NodeFacts &node) {
  int64_t size = kDynamic;
  auto start = node.value(0), limit = node.value(1), delta = node.value(2);
  if (start && limit && delta && start->size() == 1 && limit->size() == 1 &&
      delta->size() == 1 && (*start)[0] != kDynamic &&
      (*limit)[0] != kDynamic && (*delta)[0] != kDynamic && (*delta)[0] != 0) {
    int64_t span = (*limit)[0] - (*start)[0], step = (*delta)[0];
    size = std::max<int64_t>(0, step > 0 ? (span + step - 1) / step
                                         : (span + step + 1) / step);
  }
  return one(tensor({size}, node.element(0)));
}

Types expand(const NodeFacts &node) {
  Type element = node.element(0);
  RankedTensorType type = node.ranked(0), target = node.ranked(1);
  if (!type)
    return one(unranked(element));
  if (auto sizes = node.value(1)) {
    auto shape = broadcast(node, type.getShape(), *sizes);
    if (failed(shape))
      return failure();
    // A 1 of the target keeps the input's size; an unknown target size may
    // be 1.
    for (size_t i = 0; i < shape->size(); ++i) {
      int64_t at = static_cast<int64_t>(sizes->size()) - 1 - i;
      if (at >= 0 && (*sizes)[at] == kDynamic &&
          (*shape)[shape->size() - 1 - i] == 1)
        (*shape)[shape->size() - 1 - i] = kDynamic;
    }
    return one(tensor(*shape, element));
  }
  if (!target || target.getRank() != 1 || target.isDynamicDim(0))
    return one(unranked(element));
  SmallVector<int64_t> unknown(target.getDimSize(0), kDynamic);
  auto shape = broadcast(node, type.getShape(), unknown);
  if (failed(shape))
    return failure();
  return one(tensor(*shape, element));
}

Types reshape(const NodeFacts &node) {
  Type element = node.element(0);
  RankedTensorType type = node.ranked(0), target = node.ranked(1);
  auto sizes = node.value(1);
  if (!sizes) {
    if (!target || target.getRank() != 1 || target.isDynamicDim(0))
      return one(unranked(element));
    return one(
        tensor(SmallVector<int64_t>(target.getDimSize(0), kDynamic), element));
  }
  SmallVector<int64_t> shape(sizes->begin(), sizes->end());
  bool allowZero = node.integer("allowzero", 0);
  int64_t inferred = -1, known = 1;
  bool allKnown = true;
  llvm::SmallSet<int64_t, 4> copied; // dimensions that stand on both sides
  for (auto [i, size] : llvm::enumerate(shape)) {
    if (size == 0 && !allowZero) {
      if (type && static_cast<int64_t>(i) >= type.getRank())
        return node.emitError() << "copies dimension " << i
                                << " of an input of rank " << type.getRank();
      copied.insert(i);
      size = type ? type.getDimSize(i) : kDynamic;
    }
    if (size == -1) {
      if (inferred >= 0)
        return node.emitError() << "has more than one -1 in its shape";
      inferred = i;
    } else if (ShapedType::isDynamic(size)) {
      allKnown = false;
    } else if (size < 0) {
      return node.emitError() << "has size " << size << " in its shape";
    } else {
      known *= size;
    }
  }
  bool whole = type && type.hasStaticShape();
  if (inferred >= 0) {
    // Copied dimensions cancel; what is left may be known all the same.
    int64_t left = 1, right = 1;
    bool open = !type;
    for (int64_t d = 0; type && d < type.getRank(); ++d)
      if (!copied.contains(d)) {
        open |= type.isDynamicDim(d);
        left *= type.isDynamicDim(d) ? 1 : type.getDimSize(d);
      }
    for (auto [d, size] : llvm::enumerate(shape))
      if (static_cast<int64_t>(d) != inferred && !copied.contains(d)) {
        open |= ShapedType::isDynamic(size);
        right *= ShapedType::isDynamic(size) ? 1 : size;
      }
    shape[inferred] = kDynamic;
    if (!open && right != 0) {
      if (left % right != 0)
        return node.emitError()
               << "cannot make " << left << " elements a multiple of " << right;
      shape[inferred] = left / right;
    }
  } else if (whole && allKnown && known != type.getNumElements()) {
    return node.emitError() << "reshapes " << spell(type) << " to "
                            << spell(tensor(shape, element));
  }
  return one(tensor(shape, element));
}

Types flatten(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(tensor({kDynamic, kDynamic}, node.element(0)));
  int64_t axis = node.integer("axis", 1);
  if (axis < -type.getRank() || axis > type.getRank())
    return node.emitError()
           << "axis " << axis << " does not exist: the input has rank "
           << type.getRank();
  if (axis < 0)
    axis += type.getRank();
  int64_t sizes[2] = {1, 1};
  for (int64_t i = 0; i < type.getRank(); ++i) {
    int64_t &size = sizes[i < axis ? 0 : 1];
    size = ShapedType::isDynamic(size) || type.isDynamicDim(i)
               ? kDynamic
               : size * type.getDimSize(i);
  }
  return one(tensor(sizes, node.element(0)));
}

Types squeeze(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Axes axes = axesOf(node, 1);
  if (!type || !axes.known)
    return one(unranked(node.element(0)));
  llvm::SmallSet<int64_t, 4> gone;
  for (int64_t axis : axes.axes) {
    auto at = axisOf(node, axis, type.getRank());
    if (failed(at))
      return failure();
    int64_t size = type.getDimSize(*at);
    if (!ShapedType::isDynamic(size) && size != 1)
      return node.emitError()
             << "removes dimension " << *at << " of size " << size;
    gone.insert(*at);
  }
  SmallVector<int64_t> shape;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    if (!axes.given) {
      if (type.isDynamicDim(i))
        return one(unranked(node.element(0)));
      if (type.getDimSize(i) == 1)
        continue;
    } else if (gone.contains(i)) {
      continue;
    }
    shape.push_back(type.getDimSize(i));
  }
  return one(tensor(shape, node.element(0)));
}

Types unsqueeze(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Axes axes = axesOf(node, 1);
  if (!type || !axes.known)
    return one(unranked(node.element(0)));
  int64_t rank = type.getRank() + axes.axes.size();
  llvm::SmallSet<int64_t, 4> added;
  for (int64_t axis : axes.axes) {
    auto at = axisOf(node, axis, rank);
    if (failed(at))
      return failure();
    if (!added.insert(*at).second)
      return node.emitError() << "adds dimension " << *at << " twice";
  }
  SmallVector<int64_t> shape;
  for (int64_t i = 0, from = 0; i < rank; ++i)
    shape.push_back(added.contains(i) ? 1 : type.getDimSize(from++));
  return one(tensor(shape, node.element(0)));
}
} // namespace

void moe::onnx::addShapeTypeRules(TypeRules &rules) {
  rules.add("Shape", shapeOp);
  rules.add("Size", sizeOp);
  rules.add("ConstantOfShape", constantOfShape);
  rules.add("Range", range);
  rules.add("Expand", expand);
  rules.add("Reshape", reshape);
  rules.add("Flatten", flatten);
  rules.add("Squeeze", squeeze);
  rules.add("Unsqueeze", unsqueeze);
}
