#include "codegen/CPU/KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;

/// MOERT_MODEL_FAILED of runtime/IRInterface.h.
static constexpr int32_t kModelFailed = 7;

static bool isFloat(Type type) {
  return isa<FloatType>(getElementTypeOrSelf(type));
}

// --- numbers

Num Num::likeReal(double number) const {
  OpBuilder &b = k->b;
  Type type = value.getType(), element = getElementTypeOrSelf(type);
  TypedAttr attr =
      isFloat(type) ? TypedAttr(b.getFloatAttr(element, number))
                    : b.getIntegerAttr(element, static_cast<int64_t>(number));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return {*k, arith::ConstantOp::create(b, k->loc, attr)};
}

Num Num::likeInteger(int64_t number) const {
  if (isFloat(value.getType()))
    return likeReal(static_cast<double>(number));
  OpBuilder &b = k->b;
  Type type = value.getType();
  TypedAttr attr = b.getIntegerAttr(getElementTypeOrSelf(type), number);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return {*k, arith::ConstantOp::create(b, k->loc, attr)};
}

template <typename FloatOp, typename IntegerOp>
static Num binary(Num a, Num b) {
  KernelBuilder &k = *a.k;
  if (isFloat(a.value.getType()))
    return {k, FloatOp::create(k.b, k.loc, a.value, b.value)};
  return {k, IntegerOp::create(k.b, k.loc, a.value, b.value)};
}

Num moe::operator+(Num a, Num b) {
  return binary<arith::AddFOp, arith::AddIOp>(a, b);
}
Num moe::operator-(Num a, Num b) {
  return binary<arith::SubFOp, arith::SubIOp>(a, b);
}
Num moe::operator*(Num a, Num b) {
  return binary<arith::MulFOp, arith::MulIOp>(a, b);
}
Num moe::operator/(Num a, Num b) {
  return binary<arith::DivFOp, arith::DivUIOp>(a, b);
}
Num moe::operator%(Num a, Num b) {
  return binary<arith::RemFOp, arith::RemUIOp>(a, b);
}
Num moe::operator&(Num a, Num b) {
  return {*a.k, arith::AndIOp::create(a.k->b, a.k->loc, a.value, b.value)};
}
Num moe::operator|(Num a, Num b) {
  return {*a.k, arith::OrIOp::create(a.k->b, a.k->loc, a.value, b.value)};
}

static Num compare(arith::CmpFPredicate floats, arith::CmpIPredicate integers,
                   Num a, Num b) {
  KernelBuilder &k = *a.k;
  if (isFloat(a.value.getType()))
    return {k, arith::CmpFOp::create(k.b, k.loc, floats, a.value, b.value)};
  return {k, arith::CmpIOp::create(k.b, k.loc, integers, a.value, b.value)};
}

Num moe::operator<(Num a, Num b) {
  return compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt, a, b);
}
Num moe::operator==(Num a, Num b) {
  return compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, a, b);
}

// --- types and constants

Type KernelBuilder::pointer() {
  return LLVM::LLVMPointerType::get(b.getContext());
}
VectorType KernelBuilder::vector() { return vector(f32()); }
VectorType KernelBuilder::vector(Type element) {
  return VectorType::get({isa.lanes}, element);
}

Num KernelBuilder::integer(int64_t value) {
  return {*this, arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(value))};
}
Num KernelBuilder::real(double value) {
  return {*this, arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value))};
}
Num KernelBuilder::zeros(Type type) {
  return {*this, arith::ConstantOp::create(b, loc, b.getZeroAttr(type))};
}

// --- memory

Num KernelBuilder::address(Type type, Num base, Num index) {
  return {*this,
          LLVM::GEPOp::create(b, loc, pointer(), getElementTypeOrSelf(type),
                              base.value, ArrayRef<LLVM::GEPArg>{index.value})};
}

/// Vectors lie anywhere: only their elements are aligned.
static unsigned alignmentOf(Type type) {
  type = getElementTypeOrSelf(type);
  return type.isIntOrFloat() ? std::max(1u, type.getIntOrFloatBitWidth() / 8)
                             : 8;
}

Num KernelBuilder::load(Type type, Num base, Num index) {
  return {*this,
          LLVM::LoadOp::create(b, loc, type, address(type, base, index).value,
                               alignmentOf(type))};
}

void KernelBuilder::store(Num value, Num base, Num index) {
  Type type = value.value.getType();
  LLVM::StoreOp::create(b, loc, value.value, address(type, base, index).value,
                        alignmentOf(type));
}

void KernelBuilder::copyBytes(Num to, Num from, Num bytes) {
  LLVM::MemcpyOp::create(b, loc, to.value, from.value, bytes.value,
                         /*isVolatile=*/false);
}

Num KernelBuilder::loadWide(Type element, bool isVector, Num base, Num index) {
  Type stored = isVector ? Type(vector(element)) : element;
  Num value = load(stored, base, index);
  if (element.isF32())
    return value;
  return {*this, arith::ExtFOp::create(
                     b, loc, isVector ? Type(vector()) : f32(), value.value)};
}

std::string moe::typeName(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

void KernelBuilder::prefetch(Num address) {
  // For reading, into the second level, as data.
  LLVM::Prefetch::create(b, loc, address.value, 0, 2, 1);
}

// --- arithmetic

Num KernelBuilder::splat(Num scalar) {
  return {*this, vector::BroadcastOp::create(
                     b, loc, vector(scalar.value.getType()), scalar.value)};
}
Num KernelBuilder::fma(Num x, Num y, Num z) {
  if (mlir::isa<VectorType>(x.value.getType()))
    return {*this, vector::FMAOp::create(b, loc, x.value, y.value, z.value)};
  return {*this, math::FmaOp::create(b, loc, x.value, y.value, z.value)};
}
Num KernelBuilder::min(Num x, Num y) { return select(x < y, x, y); }
// A NaN in x gives y, as in one instruction of x86.
Num KernelBuilder::max(Num x, Num y) { return select(y < x, x, y); }
Num KernelBuilder::select(Num condition, Num yes, Num no) {
  return {*this, arith::SelectOp::create(b, loc, condition.value, yes.value,
                                         no.value)};
}
Num KernelBuilder::exp(Num x) {
  return {*this, math::ExpOp::create(b, loc, x.value)};
}
Num KernelBuilder::sqrt(Num x) {
  return {*this, math::SqrtOp::create(b, loc, x.value)};
}
Num KernelBuilder::tanh(Num x) {
  return {*this, math::TanhOp::create(b, loc, x.value)};
}
Num KernelBuilder::erf(Num x) {
  return {*this, math::ErfOp::create(b, loc, x.value)};
}

Num KernelBuilder::convert(Num value, Type type) {
  Type from = value.value.getType();
  if (from == type)
    return value;
  auto width = [](Type t) {
    return getElementTypeOrSelf(t).getIntOrFloatBitWidth();
  };
  Value v = value.value;
  if (isFloat(from) && isFloat(type))
    v = width(from) < width(type)
            ? arith::ExtFOp::create(b, loc, type, v).getResult()
            : arith::TruncFOp::create(b, loc, type, v).getResult();
  else if (isFloat(type))
    v = arith::SIToFPOp::create(b, loc, type, v);
  else if (isFloat(from))
    v = arith::FPToSIOp::create(b, loc, type, v);
  else
    v = width(from) < width(type)
            ? arith::ExtSIOp::create(b, loc, type, v).getResult()
            : arith::TruncIOp::create(b, loc, type, v).getResult();
  return {*this, v};
}

Num KernelBuilder::largest(Num values, Num count) {
  // Written out in vectors: LLVM may not reorder a maximum that knows NaN.
  Num lowest = real(-INFINITY), whole = count / isa.lanes * isa.lanes;
  Num best = loop(integer(0), whole, isa.lanes, {splat(lowest)},
                  [&](Num i, ArrayRef<Num> carried) -> Nums {
                    return {max(load(vector(), values, i), carried[0])};
                  })[0];
  Num top{*this, vector::ReductionOp::create(
                     b, loc, vector::CombiningKind::MAXNUMF, best.value)};
  return fold(whole, count, top, [&](Num i, Num best) {
    return max(load(f32(), values, i), best);
  });
}

Num KernelBuilder::expRow(Num values, Num count, Num shift) {
  Num whole = count / isa.lanes * isa.lanes, shifts = splat(shift);
  Num sums = loop(integer(0), whole, isa.lanes, {zeros(vector())},
                  [&](Num i, ArrayRef<Num> carried) -> Nums {
                    Num e = exp(load(vector(), values, i) - shifts);
                    store(e, values, i);
                    return {carried[0] + e};
                  })[0];
  Num sum{*this, vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD,
                                             sums.value)};
  return fold(whole, count, sum, [&](Num i, Num sum) {
    Num e = exp(load(f32(), values, i) - shift);
    store(e, values, i);
    return sum + e;
  });
}

Num KernelBuilder::head(Num whole, int64_t count) {
  return {*this, vector::ExtractStridedSliceOp::create(
                     b, loc, whole.value, ArrayRef<int64_t>{0},
                     ArrayRef<int64_t>{count}, ArrayRef<int64_t>{1})};
}

KernelBuilder::Nums KernelBuilder::transpose(ArrayRef<Num> square) {
  // Pairs of rows are interleaved, then pairs of pairs...: log2(lanes) rounds
  // of shuffles, instead of lanes^2 moves of single numbers.
  int64_t n = isa.lanes;
  Nums rows(square);
  for (int64_t half = 1; half < n; half *= 2) {
    Nums next(n);
    for (int64_t r = 0; r < n; ++r) {
      if (r & half)
        continue;
      // Rows r and r + half swap the blocks of `half` off the diagonal.
      SmallVector<int64_t> upper, lower;
      for (int64_t c = 0; c < n; ++c) {
        upper.push_back(c & half ? n + c - half : c);
        lower.push_back(c & half ? n + c : c + half);
      }
      auto mixed = [&](ArrayRef<int64_t> order) -> Num {
        return {*this, vector::ShuffleOp::create(b, loc, rows[r].value,
                                                 rows[r + half].value, order)};
      };
      next[r] = mixed(upper);
      next[r + half] = mixed(lower);
    }
    rows = next;
  }
  return rows;
}

// --- control

/// Runs `body` with the builder at the start of `block`.
template <typename Body>
static void inside(KernelBuilder &k, Block *block, Body body) {
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(block);
  body();
}

void KernelBuilder::loop(Num from, Num to, int64_t step, Fn<void(Num)> body) {
  loop(from, to, step, {}, [&](Num i, ArrayRef<Num>) -> Nums {
    body(i);
    return {};
  });
}

KernelBuilder::Nums KernelBuilder::loop(Num from, Num to, int64_t step,
                                        ArrayRef<Num> carried,
                                        Fn<Nums(Num, ArrayRef<Num>)> body) {
  SmallVector<Value> inits;
  for (Num n : carried)
    inits.push_back(n.value);
  auto loop = scf::ForOp::create(b, loc, from.value, to.value,
                                 integer(step).value, inits);
  inside(*this, loop.getBody(), [&] {
    Nums arguments;
    for (Value v : loop.getRegionIterArgs())
      arguments.push_back({*this, v});
    Nums next = body({*this, loop.getInductionVar()}, arguments);
    if (carried.empty())
      return; // the builder has ended the block
    SmallVector<Value> values;
    for (Num n : next)
      values.push_back(n.value);
    scf::YieldOp::create(b, loc, values);
  });
  Nums results;
  for (Value v : loop.getResults())
    results.push_back({*this, v});
  return results;
}

Num KernelBuilder::fold(Num from, Num to, Num init, Fn<Num(Num, Num)> body) {
  return loop(from, to, 1, {init}, [&](Num i, ArrayRef<Num> carried) -> Nums {
    return {body(i, carried[0])};
  })[0];
}

void KernelBuilder::when(Num condition, Fn<void()> yes, Fn<void()> no) {
  auto branch =
      scf::IfOp::create(b, loc, condition.value, static_cast<bool>(no));
  inside(*this, branch.thenBlock(), yes);
  if (no)
    inside(*this, branch.elseBlock(), no);
}

Num KernelBuilder::choose(Num condition, Fn<Num()> yes, Fn<Num()> no) {
  auto arm = [&](Fn<Num()> body) {
    return [this, body](OpBuilder &inner, Location) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
      scf::YieldOp::create(b, loc, body().value);
    };
  };
  return {*this, scf::IfOp::create(b, loc, condition.value, arm(yes), arm(no))
                     .getResult(0)};
}

void KernelBuilder::dispatch(Num value, int64_t most, Fn<void(int64_t)> body) {
  Value index =
      arith::IndexCastOp::create(b, loc, b.getIndexType(), value.value);
  SmallVector<int64_t> cases;
  for (int64_t m = 1; m <= most; ++m)
    cases.push_back(m);
  auto choice = scf::IndexSwitchOp::create(b, loc, TypeRange(), index, cases,
                                           cases.size());
  auto fill = [&](Region &region, int64_t m) {
    inside(*this, &region.emplaceBlock(), [&] {
      if (m)
        body(m);
      scf::YieldOp::create(b, loc);
    });
  };
  for (auto [region, m] : llvm::zip(choice.getCaseRegions(), cases))
    fill(region, m);
  fill(choice.getDefaultRegion(), 0);
}

// --- functions

func::FuncOp
KernelBuilder::function(StringRef name, ArrayRef<Type> arguments,
                        Fn<void(KernelBuilder &, ArrayRef<Num>)> body) {
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(module.getBody());
  auto function =
      func::FuncOp::create(b, loc, name, b.getFunctionType(arguments, {}));
  function.setPrivate();
  // Kernels never see two names of one place, except for reading.
  for (auto [i, type] : llvm::enumerate(arguments))
    if (type == pointer())
      function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(),
                          b.getUnitAttr());
  Block *entry = function.addEntryBlock();
  inside(*this, entry, [&] {
    Nums values;
    for (Value v : entry->getArguments())
      values.push_back({*this, v});
    body(*this, values);
    func::ReturnOp::create(b, loc);
  });
  return function;
}

void KernelBuilder::call(func::FuncOp function, ArrayRef<Num> arguments) {
  SmallVector<Value> values;
  for (Num n : arguments)
    values.push_back(n.value);
  func::CallOp::create(b, loc, function, values);
}

void KernelBuilder::neverInline(func::FuncOp function) {
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
}

void KernelBuilder::parallel(
    StringRef name, Num n, Num grain, ArrayRef<Num> captured,
    Fn<void(KernelBuilder &, ArrayRef<Num>, Num, Num)> body) {
  // The captured values travel in a struct of 8-byte slots.
  Num slots{*this,
            LLVM::AllocaOp::create(
                b, loc, pointer(), i64(),
                integer(std::max<int64_t>(1, captured.size())).value, 8)};
  for (auto [i, value] : llvm::enumerate(captured))
    store(value, slots, i);
  SmallVector<Type> types;
  for (Num n : captured)
    types.push_back(n.value.getType());
  func::FuncOp outlined =
      function(name, {pointer(), i64(), i64()},
               [&](KernelBuilder &k, ArrayRef<Num> arguments) {
                 Nums values;
                 for (auto [i, type] : llvm::enumerate(types))
                   values.push_back(load(type, arguments[0], i));
                 body(k, values, arguments[1], arguments[2]);
               });
  Value address = func::ConstantOp::create(b, loc, outlined.getFunctionType(),
                                           outlined.getSymName());
  Value pointerTo =
      UnrealizedConversionCastOp::create(b, loc, pointer(), address)
          .getResult(0);
  runtimeCall("moert_parallel_for", {},
              {n.value, grain.value, pointerTo, slots.value});
}

// --- the runtime

Value KernelBuilder::runtimeCall(StringRef name, Type result,
                                 ArrayRef<Value> arguments) {
  auto declared = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
  if (!declared) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    SmallVector<Type> types;
    for (Value v : arguments)
      types.push_back(v.getType());
    Type returned = result ? result : LLVM::LLVMVoidType::get(b.getContext());
    declared = LLVM::LLVMFuncOp::create(
        b, loc, name, LLVM::LLVMFunctionType::get(returned, types));
  }
  auto call = LLVM::CallOp::create(b, loc, declared, arguments);
  return result ? call.getResult() : Value();
}

Num KernelBuilder::scratch(int64_t bytes) {
  return {*this,
          runtimeCall("moert_scratch", pointer(), {integer(bytes).value})};
}
Num KernelBuilder::alloc(Num bytes) {
  return {*this, runtimeCall("moert_alloc", pointer(), {bytes.value})};
}
void KernelBuilder::free(Num data) {
  runtimeCall("moert_free", {}, {data.value});
}

Num KernelBuilder::string(StringRef text) {
  std::string name = "moert_text_";
  for (char c : text)
    name += llvm::isAlnum(c) ? c : '_';
  // Different texts may look alike as names.
  for (unsigned i = 0;; ++i) {
    std::string unique = name + "_" + std::to_string(i);
    std::string bytes = (text + StringRef("\0", 1)).str();
    auto known = module.lookupSymbol<LLVM::GlobalOp>(unique);
    if (!known)
      return {*this, LLVM::createGlobalString(loc, b, unique, bytes,
                                              LLVM::Linkage::Internal)};
    auto value = dyn_cast_or_null<StringAttr>(known.getValueOrNull());
    if (value && value.getValue() == bytes)
      return {*this, LLVM::AddressOfOp::create(b, loc, known)};
  }
}

Num KernelBuilder::table(ArrayRef<int32_t> numbers) {
  auto type = RankedTensorType::get({static_cast<int64_t>(numbers.size())},
                                    b.getI32Type());
  auto values = DenseElementsAttr::get(type, numbers);
  for (unsigned i = 0;; ++i) {
    std::string name = "moert_table_" + std::to_string(i);
    auto global = module.lookupSymbol<LLVM::GlobalOp>(name);
    if (global && global.getValueOrNull() != values)
      continue;
    if (!global) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(module.getBody());
      global = LLVM::GlobalOp::create(
          b, loc, LLVM::LLVMArrayType::get(b.getI32Type(), numbers.size()),
          /*isConstant=*/true, LLVM::Linkage::Internal, name, values);
    }
    return {*this, LLVM::AddressOfOp::create(b, loc, global)};
  }
}

void KernelBuilder::check(Num condition, StringRef message, Num value,
                          Num where) {
  Num wrong = condition == condition.like(0);
  when(wrong, [&] {
    Value code =
        arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(kModelFailed));
    Value format = string(message).value;
    Value place = where ? where.value : string("").value;
    runtimeCall("moert_fail", {}, {code, format, place, value.value});
  });
}
