// Values of the small integer tensors that compute shapes, as far as the
// input's sizes allow to know them before a run.
#include "frontends/ONNX/TypeInference.h"

#include "dialects/Onnx/Indexing.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe::onnx;

static constexpr int64_t kDynamic = ShapedType::kDynamic;

static std::optional<PartialInts> binary(const NodeFacts &node) {
  auto a = node.value(0), b = node.value(1);
  if (!a || !b || (a->size() != b->size() && a->size() != 1 && b->size() != 1))
    return std::nullopt;
  PartialInts result;
  size_t size = a->empty() || b->empty() ? 0 : std::max(a->size(), b->size());
  for (size_t i = 0; i < size; ++i) {
    int64_t x = (*a)[a->size() == 1 ? 0 : i], y = (*b)[b->size() == 1 ? 0 : i];
    int64_t value = kDynamic;
    bool known = x != kDynamic && y != kDynamic;
    if (known && node.op == "Add")
      known = !llvm::AddOverflow(x, y, value);
    else if (known && node.op == "Sub")
      known = !llvm::SubOverflow(x, y, value);
    else if (known && node.op == "Mul")
      known = !llvm::MulOverflow(x, y, value);
    else if (known && node.op == "Div" && y != 0 && y != -1)
      value = x / y;
    else
      known = false;
    result.push_back(known ? value : kDynamic);
  }
  return result;
}

static std::optional<PartialInts> gather(const NodeFacts &node) {
  auto data = node.value(0), indices = node.value(1);
  RankedTensorType type = node.ranked(0);
  if (!data || !indices || !type || type.getRank() != 1)
    return std::nullopt;
  PartialInts result;
  for (int64_t at : *indices) {
    if (at < 0 && at != kDynamic)
      at += data->size();
    bool inside = at >= 0 && at < static_cast<int64_t>(data->size());
    result.push_back(inside ? (*data)[at] : kDynamic);
  }
  return result;
}

static std::optional<PartialInts> slice(const NodeFacts &node) {
  auto data = node.value(0), steps = node.value(4);
  auto starts = node.integers("starts", 1), ends = node.integers("ends", 2);
  if (node.has(4) && !(steps && steps->size() == 1 && (*steps)[0] == 1))
    return std::nullopt;
  if (!data || !starts || !ends || starts->size() != 1 || ends->size() != 1 ||
      (*starts)[0] == kDynamic || (*ends)[0] == kDynamic)
    return std::nullopt;
  int64_t size = data->size();
  int64_t end = clampIndex((*ends)[0], size);
  PartialInts result;
  for (int64_t i = clampIndex((*starts)[0], size); i < end; ++i)
    result.push_back((*data)[i]);
  return result;
}

std::optional<PartialInts> moe::onnx::inferInts(const NodeFacts &node,
                                                Type type) {
  auto result = dyn_cast<RankedTensorType>(type);
  if (!node.domain.empty() || !result || result.getRank() > 1 ||
      !result.getElementType().isInteger())
    return std::nullopt;
  if (node.op == "Shape") {
    RankedTensorType input = node.ranked(0);
    if (!input)
      return std::nullopt;
    int64_t rank = input.getRank();
    int64_t start = clampIndex(node.integer("start", 0), rank);
    int64_t end = std::max(start, clampIndex(node.integer("end", rank), rank));
    return PartialInts(input.getShape().slice(start, end - start));
  }
  if (node.op == "Concat") {
    PartialInts all;
    for (unsigned i = 0; i < node.inputs.size(); ++i) {
      auto part = node.value(i);
      if (!part) {
        RankedTensorType input = node.ranked(i);
        if (!input || input.isDynamicDim(0))
          return std::nullopt;
        part = PartialInts(input.getDimSize(0), kDynamic);
      }
      llvm::append_range(all, *part);
    }
    return all;
  }
  if (node.op == "Gather")
    return gather(node);
  if (node.op == "Slice")
    return slice(node);
  if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" ||
      node.op == "Div")
    return binary(node);
  if (node.op == "Squeeze" || node.op == "Unsqueeze" || node.op == "Identity" ||
      node.op == "Cast" || node.op == "Reshape")
    return node.value(0);
  return std::nullopt;
}
