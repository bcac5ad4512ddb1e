#include "passes/Raise/SymbolicShapes.h"

using namespace mlir;
using namespace moe;

void DimExpr::add(ArrayRef<unsigned> product, int64_t coefficient) {
  SmallVector<unsigned, 2> key(product);
  llvm::sort(key);
  int64_t &sum = terms[key];
  sum += coefficient;
  if (sum == 0)
    terms.erase(key);
}

DimExpr DimExpr::constant(int64_t value) {
  DimExpr expr;
  expr.add({}, value);
  return expr;
}

DimExpr DimExpr::symbol(unsigned id) {
  DimExpr expr;
  expr.add(id, 1);
  return expr;
}

std::optional<int64_t> DimExpr::asConstant() const {
  if (terms.empty())
    return 0;
  if (terms.size() == 1 && terms.begin()->first.empty())
    return terms.begin()->second;
  return std::nullopt;
}

DimExpr DimExpr::operator+(const DimExpr &other) const {
  DimExpr sum = *this;
  for (const auto &[product, coefficient] : other.terms)
    sum.add(product, coefficient);
  return sum;
}

DimExpr DimExpr::operator-(const DimExpr &other) const {
  return *this + other * constant(-1);
}

DimExpr DimExpr::operator*(const DimExpr &other) const {
  DimExpr result;
  for (const auto &[a, x] : terms)
    for (const auto &[b, y] : other.terms) {
      SmallVector<unsigned, 2> product(a);
      product.append(b.begin(), b.end());
      int64_t coefficient;
      // Nothing real is as large; an absurd size is merely no equal one.
      if (llvm::MulOverflow(x, y, coefficient))
        coefficient = std::numeric_limits<int64_t>::max();
      result.add(product, coefficient);
    }
  return result;
}

std::optional<DimExpr> DimExpr::dividedBy(const DimExpr &other) const {
  if (*this == other && !terms.empty())
    return constant(1);
  if (other.terms.size() != 1)
    return std::nullopt;
  const auto &[divisor, by] = *other.terms.begin();
  DimExpr result;
  for (const auto &[product, coefficient] : terms) {
    SmallVector<unsigned, 2> rest;
    std::set_difference(product.begin(), product.end(), divisor.begin(),
                        divisor.end(), std::back_inserter(rest));
    if (coefficient % by != 0 || rest.size() + divisor.size() != product.size())
      return std::nullopt;
    result.add(rest, coefficient / by);
  }
  return result;
}

bool DimExpr::isNonNegative() const {
  return llvm::all_of(terms, [](const auto &term) { return term.second > 0; });
}

std::optional<int64_t>
DimExpr::evaluate(ArrayRef<std::optional<int64_t>> values) const {
  int64_t sum = 0;
  for (const auto &[product, coefficient] : terms) {
    int64_t term = coefficient;
    for (unsigned id : product) {
      if (id >= values.size() || !values[id])
        return std::nullopt;
      term *= *values[id];
    }
    sum += term;
  }
  return sum;
}

int64_t DimExpr::evaluate(ArrayRef<int64_t> values) const {
  int64_t sum = 0;
  for (const auto &[product, coefficient] : terms) {
    int64_t term = coefficient;
    for (unsigned id : product)
      term *= id < values.size() ? values[id] : 1;
    sum += term;
  }
  return sum;
}
