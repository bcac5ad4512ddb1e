#include "frontends/ONNX/TypeInference.h"

#include "dialects/Onnx/Indexing.h"
#include "frontends/ONNX/ElementTypes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
constexpr int64_t kDynamic = ShapedType::kDynamic;
using Types = FailureOr<SmallVector<Type>>;
using Rule = Types (*)(const NodeFacts &);

Type tensor(ArrayRef<int64_t> shape, Type element) {
  return RankedTensorType::get(shape, element);
}

Type unranked(Type element) { return UnrankedTensorType::get(element); }

Types one(Type type) { return SmallVector<Type>{type}; }

Type withElement(Type type, Type element) {
  if (auto ranked = dyn_cast<RankedTensorType>(type))
    return ranked.clone(element);
  return unranked(element);
}

/// An axis of a tensor of rank `rank`, counted from the front.
FailureOr<int64_t> axisOf(const NodeFacts &node, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return node.emitError()
           << "axis " << axis << " does not exist: the input has rank " << rank;
  return axis < 0 ? axis + rank : axis;
}

/// Axes given as an attribute (old versions) or as an input; nothing where
/// they are not given, failure where they are not known.
struct Axes {
  bool given = false, known = true;
  SmallVector<int64_t> axes;
};

Axes axesOf(const NodeFacts &node, unsigned input) {
  Axes result;
  result.given = node.attributes.get("axes") || node.has(input);
  auto values = node.integers("axes", input);
  if (values && !llvm::is_contained(*values, kDynamic))
    result.axes.assign(values->begin(), values->end());
  else
    result.known = !result.given;
  return result;
}

std::string spell(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (auto ranked = dyn_cast<RankedTensorType>(type)) {
    os << "[";
    llvm::interleave(
        ranked.getShape(), os,
        [&](int64_t size) {
          if (ShapedType::isDynamic(size))
            os << "?";
          else
            os << size;
        },
        ", ");
    os << "]";
  } else {
    os << type;
  }
  return text;
}

/// Numpy broadcasting of two shapes.
FailureOr<SmallVector<int64_t>>
broadcast(const NodeFacts &node, ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  SmallVector<int64_t> shape(std::max(a.size(), b.size()));
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    int64_t size;
    if (x == y || y == 1)
      size = x;
    else if (x == 1)
      size = y;
    else if (ShapedType::isDynamic(x))
      size = y;
    else if (ShapedType::isDynamic(y))
      size = x;
    else
      return node.emitError() << "cannot broadcast sizes " << x << " and " << y
                              << " (dimension " << i << " from the end)";
    shape[shape.size() - 1 - i] = size;
  }
  return shape;
}

LogicalResult sameElements(const NodeFacts &node, unsigned first) {
  Type element = node.element(first);
  for (unsigned i = first + 1; i < node.inputs.size(); ++i)
    if (node.has(i) && node.element(i) != element)
      return node.emitError() << "input " << first << " has elements of type "
                              << nameOfElement(element) << ", input " << i
                              << " of type " << nameOfElement(node.element(i));
  return success();
}

Types broadcastAll(const NodeFacts &node, unsigned first, Type element) {
  SmallVector<int64_t> shape;
  for (unsigned i = first; i < node.inputs.size(); ++i) {
    RankedTensorType type = node.ranked(i);
    if (!type)
      return one(unranked(element));
    auto joined = broadcast(node, shape, type.getShape());
    if (failed(joined))
      return failure();
    shape = *joined;
  }
  return one(tensor(shape, element));
}

// --- rules ----------------------------------------------------------------

Types sameAsFirst(const NodeFacts &node) { return one(node.inputs[0]); }

Types elementwise(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  return broadcastAll(node, 0, node.element(0));
}

Types comparison(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  return broadcastAll(node, 0, IntegerType::get(node.context, 1));
}

Types power(const NodeFacts &node) { // the exponent may have its own type
  return broadcastAll(node, 0, node.element(0));
}

Types toBool(const NodeFacts &node) {
  return one(withElement(node.inputs[0], IntegerType::get(node.context, 1)));
}

Types where(const NodeFacts &node) {
  if (failed(sameElements(node, 1)))
    return failure();
  return broadcastAll(node, 0, node.element(1));
}

Types cast(const NodeFacts &node) {
  Type element = elementTypeOf(node.context, node.integer("to", 0));
  if (!element)
    return node.emitError()
           << "casts to element type number " << node.integer("to", 0)
           << ", which is not a supported type";
  return one(withElement(node.inputs[0], element));
}

Types castLike(const NodeFacts &node) {
  return one(withElement(node.inputs[0], node.element(1)));
}

Types clip(const NodeFacts &node) { return one(node.inputs[0]); }

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

Types matmul(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  RankedTensorType a = node.ranked(0), b = node.ranked(1);
  if (!a || !b)
    return one(unranked(node.element(0)));
  if (a.getRank() == 0 || b.getRank() == 0)
    return node.emitError() << "multiplies a scalar";
  int64_t k = a.getShape().back();
  int64_t l = b.getShape()[std::max<int64_t>(0, b.getRank() - 2)];
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(l) && k != l)
    return node.emitError()
           << "multiplies " << spell(a) << " by " << spell(b)
           << ": inner sizes " << k << " and " << l << " differ";
  auto batch =
      broadcast(node, a.getShape().drop_back(std::min<int64_t>(2, a.getRank())),
                b.getShape().drop_back(std::min<int64_t>(2, b.getRank())));
  if (failed(batch))
    return failure();
  SmallVector<int64_t> shape = *batch;
  if (a.getRank() > 1)
    shape.push_back(a.getShape()[a.getRank() - 2]);
  if (b.getRank() > 1)
    shape.push_back(b.getShape().back());
  return one(tensor(shape, a.getElementType()));
}

Types gemm(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  RankedTensorType a = node.ranked(0), b = node.ranked(1);
  if ((a && a.getRank() != 2) || (b && b.getRank() != 2))
    return node.emitError() << "needs matrices, not " << spell(node.inputs[0])
                            << " and " << spell(node.inputs[1]);
  bool ta = node.integer("transA", 0), tb = node.integer("transB", 0);
  int64_t m = a ? a.getDimSize(ta ? 1 : 0) : kDynamic;
  int64_t k = a ? a.getDimSize(ta ? 0 : 1) : kDynamic;
  int64_t l = b ? b.getDimSize(tb ? 1 : 0) : kDynamic;
  int64_t n = b ? b.getDimSize(tb ? 0 : 1) : kDynamic;
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(l) && k != l)
    return node.emitError()
           << "multiplies " << spell(a) << " by " << spell(b)
           << ": inner sizes " << k << " and " << l << " differ";
  return one(tensor({m, n}, node.element(0)));
}

Types reduce(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(node.inputs[0]);
  Axes axes = axesOf(node, 1);
  bool keep = node.integer("keepdims", 1);
  if (!axes.known)
    return one(keep ? tensor(SmallVector<int64_t>(type.getRank(), kDynamic),
                             type.getElementType())
                    : unranked(type.getElementType()));
  if (axes.axes.empty() && node.integer("noop_with_empty_axes", 0))
    return one(type);
  llvm::SmallSet<int64_t, 4> gone;
  for (int64_t axis : axes.axes) {
    auto at = axisOf(node, axis, type.getRank());
    if (failed(at))
      return failure();
    gone.insert(*at);
  }
  SmallVector<int64_t> shape;
  for (auto [i, size] : llvm::enumerate(type.getShape())) {
    if (!gone.empty() && !gone.contains(i))
      shape.push_back(size);
    else if (keep)
      shape.push_back(1);
  }
  return one(tensor(shape, type.getElementType()));
}

Types argReduce(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Type i64 = IntegerType::get(node.context, 64);
  if (!type)
    return one(unranked(i64));
  auto at = axisOf(node, node.integer("axis", 0), type.getRank());
  if (failed(at))
    return failure();
  SmallVector<int64_t> shape(type.getShape());
  if (node.integer("keepdims", 1))
    shape[*at] = 1;
  else
    shape.erase(shape.begin() + *at);
  return one(tensor(shape, i64));
}

Types topK(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Type i64 = IntegerType::get(node.context, 64);
  if (!type)
    return SmallVector<Type>{node.inputs[0], unranked(i64)};
  auto at = axisOf(node, node.integer("axis", -1), type.getRank());
  if (failed(at))
    return failure();
  int64_t k = node.integer("k", kDynamic);
  if (auto value = node.value(1); value && value->size() == 1)
    k = (*value)[0];
  int64_t size = type.getDimSize(*at);
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(size) && k > size)
    return node.emitError() << "takes the top " << k << " of " << size;
  SmallVector<int64_t> shape(type.getShape());
  shape[*at] = k;
  return SmallVector<Type>{tensor(shape, type.getElementType()),
                           tensor(shape, i64)};
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

Types dequantize(const NodeFacts &node) {
  Type element = node.element(1);
  if (int64_t number = node.integer("output_dtype", 0))
    element = elementTypeOf(node.context, number);
  return one(withElement(node.inputs[0], element));
}

Types normalization(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, NoneType::get(node.context));
  types[0] = node.inputs[0];
  for (unsigned i = 1; i < types.size(); ++i)
    types[i] = unranked(node.element(0));
  return types;
}

Types skipNormalization(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, unranked(node.element(0)));
  types[0] = node.inputs[0];
  if (types.size() > 3)
    types[3] = node.inputs[0];
  return types;
}

/// com.microsoft.MoE and QMoE: shapes of routers, weights and scales.
Types moe(const NodeFacts &node) {
  RankedTensorType logits = node.ranked(1), fc1 = node.ranked(2);
  if (!logits)
    return one(node.inputs[0]);
  if (logits.getRank() != 2)
    return node.emitError()
           << "needs router logits [tokens, experts], not " << spell(logits);
  int64_t experts = logits.getDimSize(1), k = node.integer("k", 1);
  if (fc1 && fc1.getRank() == 3 && !ShapedType::isDynamic(experts) &&
      fc1.getDimSize(0) != experts)
    return node.emitError()
           << "routes to " << experts << " experts, but has weights of "
           << fc1.getDimSize(0);
  if (!ShapedType::isDynamic(experts) && k > experts)
    return node.emitError()
           << "has k = " << k << ", but only " << experts << " experts";
  if (node.op == "QMoE")
    for (unsigned weight : {2u, 5u, 8u}) {
      RankedTensorType w = node.ranked(weight), s = node.ranked(weight + 1);
      if (!w || !s || w.getRank() < 2 || s.getRank() < 2)
        continue;
      if (s.getDimSize(0) != w.getDimSize(0) ||
          s.getDimSize(1) != w.getDimSize(1))
        return node.emitError()
               << "input " << weight + 1 << ": scales " << spell(s)
               << " do not fit weights " << spell(w)
               << ", which need one row of scales per weight row";
    }
  return one(node.inputs[0]);
}

Types multiHeadAttention(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, unranked(node.element(0)));
  types[0] = node.inputs[0];
  return types;
}

const llvm::StringMap<Rule> &rules() {
  static const llvm::StringMap<Rule> map = [] {
    llvm::StringMap<Rule> rules;
    auto add = [&](StringRef names, Rule rule) {
      for (StringRef name : llvm::split(names, ' '))
        rules[name] = rule;
    };
    add("Abs Ceil Cos CumSum Elu Erf Exp Floor Gelu HardSigmoid Identity "
        "LeakyRelu Log LogSoftmax Neg Reciprocal Relu Round Sigmoid Sign Sin "
        "Softmax Softplus Sqrt Swish Tanh Trilu ScatterElements ScatterND "
        "com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu "
        "com.microsoft.RotaryEmbedding",
        sameAsFirst);
    add("Add Sub Mul Div Mod Max Min Sum", elementwise);
    add("And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual", comparison);
    add("Pow", power);
    add("Not IsNaN IsInf", toBool);
    add("Where", where);
    add("Cast", cast);
    add("CastLike", castLike);
    add("Clip", clip);
    add("Shape", shapeOp);
    add("Size", sizeOp);
    add("ConstantOfShape", constantOfShape);
    add("Range", range);
    add("Expand", expand);
    add("Reshape", reshape);
    add("Flatten", flatten);
    add("Transpose", transpose);
    add("Squeeze", squeeze);
    add("Unsqueeze", unsqueeze);
    add("Concat", concat);
    add("Slice", slice);
    add("Split", split);
    add("Gather", gather);
    add("GatherElements", gatherElements);
    add("GatherND", gatherND);
    add("MatMul", matmul);
    add("Gemm", gemm);
    add("ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum", reduce);
    add("ArgMax ArgMin", argReduce);
    add("TopK", topK);
    add("NonZero", nonZero);
    add("OneHot", oneHot);
    add("Tile", tile);
    add("DequantizeLinear", dequantize);
    add("LayerNormalization RMSNormalization SimplifiedLayerNormalization",
        normalization);
    add("com.microsoft.SkipSimplifiedLayerNormalization", skipNormalization);
    add("com.microsoft.MoE com.microsoft.QMoE", moe);
    add("com.microsoft.MultiHeadAttention", multiHeadAttention);
    return rules;
  }();
  return map;
}
} // namespace

int64_t NodeFacts::integer(StringRef name, int64_t otherwise) const {
  auto value = dyn_cast_or_null<IntegerAttr>(attributes.get(name));
  return value ? value.getInt() : otherwise;
}

std::optional<SmallVector<int64_t>> NodeFacts::integers(StringRef name) const {
  auto value = dyn_cast_or_null<DenseI64ArrayAttr>(attributes.get(name));
  if (!value)
    return std::nullopt;
  return SmallVector<int64_t>(value.asArrayRef());
}

StringRef NodeFacts::string(StringRef name, StringRef otherwise) const {
  auto value = dyn_cast_or_null<StringAttr>(attributes.get(name));
  return value ? value.getValue() : otherwise;
}

FailureOr<SmallVector<Type>> moe::onnx::inferTypes(const NodeFacts &node) {
  std::string key = node.op.str();
  if (!node.domain.empty())
    key = (node.domain + "." + node.op).str();
  auto rule = rules().find(key);
  if (rule == rules().end())
    return node.emitError() << "has no type rule (please report)";
  Types types = rule->second(node);
  if (succeeded(types))
    types->resize(node.numOutputs, NoneType::get(node.context));
  return types;
}
