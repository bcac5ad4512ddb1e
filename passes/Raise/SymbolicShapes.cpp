#include "passes/Raise/SymbolicShapes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

SymbolicShapes::SymbolicShapes(FunctionOpInterface function) {
  if (function.isExternal())
    return;
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type) {
      shapes[argument.getAsOpaquePointer()] = std::nullopt;
      continue;
    }
    auto dims = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(),
                                                     "moe.dims");
    SymbolicShape shape;
    for (int64_t d = 0; d < type.getRank(); ++d) {
      if (!type.isDynamicDim(d)) {
        shape.push_back(DimExpr::constant(type.getDimSize(d)));
        continue;
      }
      StringRef name;
      if (dims && d < static_cast<int64_t>(dims.size()))
        if (auto text = dyn_cast<StringAttr>(dims[d]))
          name = text.getValue();
      if (name.empty()) {
        shape.push_back(fresh(argument, d));
        continue;
      }
      auto [known, isNew] = names.try_emplace(name, symbolCount());
      shape.push_back(isNew ? fresh(argument, d)
                            : DimExpr::symbol(known->second));
    }
    shapes[argument.getAsOpaquePointer()] = shape;
  }
  // In order, so that nothing recurses deeply.
  for (Operation &op : function.front())
    for (OpResult result : op.getResults()) {
      this->shape(result);
      elements(result);
    }
}

DimExpr SymbolicShapes::fresh(Value value, int64_t dim) {
  origins.push_back({value, dim});
  return DimExpr::symbol(symbolCount() - 1);
}

const SymbolicShape *SymbolicShapes::shape(Value value) {
  if (auto found = shapes.find(value.getAsOpaquePointer());
      found != shapes.end())
    return found->second ? &*found->second : nullptr;
  Known known;
  if (auto result = dyn_cast<OpResult>(value))
    known = infer(result);
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && known && static_cast<int64_t>(known->size()) != type.getRank())
    known.reset();
  if (type && !known) {
    known.emplace();
    for (int64_t d = 0; d < type.getRank(); ++d)
      known->push_back(type.isDynamicDim(d) ? fresh(value, d) : DimExpr());
  }
  if (type)
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (!type.isDynamicDim(d))
        (*known)[d] = DimExpr::constant(type.getDimSize(d));
  auto at =
      shapes.try_emplace(value.getAsOpaquePointer(), std::move(known)).first;
  return at->second ? &*at->second : nullptr;
}

const SymbolicShape *SymbolicShapes::elements(Value value) {
  if (auto found = numbers.find(value.getAsOpaquePointer());
      found != numbers.end())
    return found->second ? &*found->second : nullptr;
  Known known;
  auto type = dyn_cast<RankedTensorType>(value.getType());
  bool isInteger = type ? type.getElementType().isSignlessInteger()
                        : value.getType().isIndex();
  if (auto result = dyn_cast<OpResult>(value); result && isInteger)
    known = compute(result);
  if (known && known->size() > 8)
    known.reset();
  auto at =
      numbers.try_emplace(value.getAsOpaquePointer(), std::move(known)).first;
  return at->second ? &*at->second : nullptr;
}

std::vector<std::optional<int64_t>>
SymbolicShapes::solve(Value value, ArrayRef<int64_t> sizes, int64_t first) {
  std::vector<std::optional<int64_t>> values(symbolCount());
  const SymbolicShape *known = shape(value);
  if (!known || known->size() != sizes.size())
    return {};
  values.resize(symbolCount());
  for (auto [expression, size] : llvm::zip(*known, sizes)) {
    if (expression.getTerms().size() != 1)
      continue;
    const auto &[product, coefficient] = *expression.getTerms().begin();
    int64_t rest = size;
    SmallVector<unsigned, 2> open;
    for (unsigned id : product) {
      int64_t factor = values[id].value_or(1);
      rest = factor ? rest / factor : 0;
      if (!values[id])
        open.push_back(id);
    }
    rest /= coefficient;
    for (unsigned id : ArrayRef(open).drop_back(open.empty() ? 0 : 1)) {
      bool splits = open.size() == 2 && first > 0 && rest % first == 0;
      values[id] = splits ? first : 1;
      rest /= *values[id];
    }
    if (!open.empty())
      values[open.back()] = rest;
  }
  for (auto [expression, size] : llvm::zip(*known, sizes))
    if (expression.evaluate(values).value_or(size) != size)
      return {};
  return values;
}

bool SymbolicShapes::sameShape(Value a, Value b) {
  const SymbolicShape *x = shape(a), *y = shape(b);
  return x && y && *x == *y;
}

Value SymbolicShapes::materialize(OpBuilder &builder, Location loc,
                                  const DimExpr &size) {
  Value sum;
  for (const auto &[product, coefficient] : size.getTerms()) {
    Value term;
    for (unsigned id : product) {
      auto [value, dim] = origins[id];
      Value factor = tensor::DimOp::create(builder, loc, value, dim);
      term = term ? arith::MulIOp::create(builder, loc, term, factor) : factor;
    }
    if (!term || coefficient != 1) {
      Value factor = arith::ConstantIndexOp::create(builder, loc, coefficient);
      term = term ? arith::MulIOp::create(builder, loc, term, factor) : factor;
    }
    sum = sum ? arith::AddIOp::create(builder, loc, sum, term) : term;
  }
  return sum ? sum : arith::ConstantIndexOp::create(builder, loc, 0);
}
