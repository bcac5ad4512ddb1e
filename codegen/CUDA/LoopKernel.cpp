// Loops that are parallel in all dimensions, and copies.
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/OpWriter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;

namespace {
/// The body of a loop, made anew for each element.
class Loop {
public:
  Loop(OpWriter &w, linalg::LinalgOp op) : w(w), op(op) {}
  /// Tells the writer what the kernel takes.
  bool collect();
  void write(CudaBuilder &k);

private:
  void capture(Value value);
  void check(Operation *inner);
  /// Where an operand has the element of these loops.
  Num place(CudaBuilder &k, OpOperand &operand, ArrayRef<Num> loops);
  void emit(CudaBuilder &k, Block &block, IRMapping &values);
  void emit(CudaBuilder &k, Operation &inner, IRMapping &values);

  OpWriter &w;
  linalg::LinalgOp op;
  llvm::MapVector<Value, OpWriter::Memory> memories;
  llvm::MapVector<Value, OpWriter::Size> scalars;
  SmallVector<Operation *> constants;
  SmallVector<OpWriter::Size> extents;
  SmallVector<Num> loops; ///< indices, while an element is written
};
} // namespace

/// Arithmetic on f32, f64 and integers; other floats are only converted.
static bool isComputed(Operation *inner) {
  auto all = [&](llvm::function_ref<bool(Type)> test) {
    return llvm::all_of(inner->getOperandTypes(), test) &&
           llvm::all_of(inner->getResultTypes(), test);
  };
  if (isa<arith::ExtFOp, arith::TruncFOp, arith::SelectOp, arith::ConstantOp>(
          inner))
    return all([](Type type) { return type.isIntOrIndexOrFloat(); });
  if (isa<arith::ArithDialect>(inner->getDialect()) ||
      isa<math::SqrtOp, math::AbsFOp, math::AbsIOp, math::CeilOp, math::FloorOp,
          math::RoundEvenOp, math::FmaOp>(inner))
    return all([](Type type) {
      return type.isIntOrIndex() || type.isF32() || type.isF64();
    });
  return isa<math::ExpOp, math::LogOp, math::TanhOp, math::ErfOp, math::SinOp,
             math::CosOp>(inner) &&
         all([](Type type) { return type.isF32(); });
}

void Loop::check(Operation *inner) {
  if (auto dim = dyn_cast<memref::DimOp>(inner)) {
    if (!dim.getConstantIndex())
      w.refuse("it asks for the size of a dimension that is not constant");
    return;
  }
  if (isa<linalg::IndexOp, linalg::YieldOp, memref::LoadOp, scf::ForOp,
          scf::IfOp, scf::YieldOp>(inner) ||
      isComputed(inner))
    return;
  std::string types;
  for (Type type : inner->getResultTypes())
    types += " " + typeName(type);
  w.refuse("there is no device form of '" + inner->getName().getStringRef() +
           "'" + (types.empty() ? "" : " of") + types);
}

void Loop::capture(Value value) {
  if (op->getRegion(0).isAncestor(value.getParentRegion()) ||
      memories.contains(value) || scalars.contains(value))
    return;
  if (isa<MemRefType>(value.getType()))
    memories[value] = w.strided(value, Elements::Any, "memory that it reads");
  else if (Operation *def = value.getDefiningOp();
           def && matchPattern(value, m_Constant())) {
    if (!llvm::is_contained(constants, def))
      constants.push_back(def);
  } else
    scalars[value] = w.number(value);
}

bool Loop::collect() {
  if (!op.hasPureBufferSemantics())
    return w.refuse("it is not on memory"), false;
  if (op.getNumLoops() != op.getNumParallelLoops())
    return w.refuse("its loops are not all parallel"), false;
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    bool isOut = op.isDpsInit(&operand);
    if (isOut ? !map.isPermutation() : !map.isProjectedPermutation(true))
      return w.refuse("its indexing maps are not permutations"), false;
    capture(operand.get());
  }
  op->getRegion(0).walk([&](Operation *inner) {
    check(inner);
    for (Value value : inner->getOperands())
      capture(value);
  });
  if (w.isRefused())
    return false;
  OpOperand *out = op.getDpsInitOperand(0);
  AffineMap map = op.getMatchingIndexingMap(out);
  extents.resize(op.getNumLoops());
  for (auto [d, result] : llvm::enumerate(map.getResults()))
    extents[cast<AffineDimExpr>(result).getPosition()] =
        memories[out->get()].sizes[d];
  return true;
}

Num Loop::place(CudaBuilder &k, OpOperand &operand, ArrayRef<Num> loops) {
  SmallVector<Num> indices;
  for (AffineExpr result : op.getMatchingIndexingMap(&operand).getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(result);
    indices.push_back(dim ? loops[dim.getPosition()] : k.integer(0));
  }
  return w.place(memories[operand.get()], indices);
}

static Num asIndex(CudaBuilder &k, Num number) {
  return {k, arith::IndexCastOp::create(k.b, k.loc, k.b.getIndexType(),
                                        number.value)};
}

void Loop::emit(CudaBuilder &k, Operation &inner, IRMapping &values) {
  auto got = [&](Num result) { values.map(inner.getResult(0), result.value); };
  auto operand = [&](unsigned i) {
    return Num(k, values.lookup(inner.getOperand(i)));
  };
  llvm::TypeSwitch<Operation *>(&inner)
      .Case([&](linalg::IndexOp index) {
        got(asIndex(k, loops[index.getDim()]));
      })
      .Case([&](memref::LoadOp load) {
        const OpWriter::Memory &memory = memories[load.getMemRef()];
        SmallVector<Num> indices;
        for (Value index : load.getIndices())
          indices.push_back(
              {k, arith::IndexCastOp::create(k.b, k.loc, k.i64(),
                                             values.lookup(index))});
        got(w.read(memory, w.place(memory, indices)));
      })
      .Case([&](memref::DimOp dim) {
        got(asIndex(
            k, w.size(memories[dim.getSource()], *dim.getConstantIndex())));
      })
      .Case([&](scf::ForOp loop) {
        auto made = scf::ForOp::create(
            k.b, k.loc, values.lookup(loop.getLowerBound()),
            values.lookup(loop.getUpperBound()), values.lookup(loop.getStep()),
            llvm::map_to_vector(loop.getInitArgs(), [&](Value init) {
              return values.lookup(init);
            }));
        values.map(loop.getBody()->getArguments(),
                   made.getBody()->getArguments());
        made.getBody()->clear(); // where there are no results it has an end
        OpBuilder::InsertionGuard guard(k.b);
        k.b.setInsertionPointToStart(made.getBody());
        emit(k, *loop.getBody(), values);
        values.map(loop.getResults(), made.getResults());
      })
      .Case([&](scf::IfOp branch) {
        auto made = scf::IfOp::create(k.b, k.loc, branch.getResultTypes(),
                                      values.lookup(branch.getCondition()),
                                      !branch.getElseRegion().empty());
        OpBuilder::InsertionGuard guard(k.b);
        for (auto [from, to] :
             llvm::zip(branch->getRegions(), made->getRegions())) {
          if (from.empty())
            continue;
          to.front().clear();
          k.b.setInsertionPointToStart(&to.front());
          emit(k, from.front(), values);
        }
        values.map(branch.getResults(), made.getResults());
      })
      .Case([&](math::ExpOp) { got(cuda::exp(k, operand(0))); })
      .Case([&](math::LogOp) { got(cuda::log(k, operand(0))); })
      .Case([&](math::TanhOp) { got(cuda::tanh(k, operand(0))); })
      .Case([&](math::ErfOp) { got(cuda::erf(k, operand(0))); })
      .Case<math::SinOp, math::CosOp>([&](auto) {
        auto [cosine, sine] =
            cosineAndSine(k, k.convert(operand(0), k.b.getF64Type()));
        got(k.convert(isa<math::CosOp>(inner) ? cosine : sine, k.f32()));
      })
      .Default([&](Operation *other) { k.b.clone(*other, values); });
}

void Loop::emit(CudaBuilder &k, Block &block, IRMapping &values) {
  for (Operation &inner : block)
    if (!isa<linalg::YieldOp>(inner))
      emit(k, inner, values);
}

void Loop::write(CudaBuilder &k) {
  IRMapping outside;
  for (Operation *constant : constants)
    k.b.clone(*constant, outside);
  for (auto &[value, size] : scalars)
    outside.map(value, w.scalar(size, value.getType()).value);
  Num total = k.integer(1);
  for (OpWriter::Size extent : extents)
    total = total * w.size(extent);
  forEach(k, total, [&](Num i) {
    loops.assign(extents.size(), i);
    for (size_t d = extents.size(); d-- > 1;) {
      Num extent = w.size(extents[d]);
      loops[d] = loops[0] % extent;
      loops[0] = loops[0] / extent;
    }
    IRMapping values = outside;
    Block &body = op->getRegion(0).front();
    for (OpOperand &operand : op->getOpOperands()) {
      BlockArgument argument = op.getMatchingBlockArgument(&operand);
      if (argument.use_empty())
        continue;
      if (scalars.contains(operand.get()) ||
          !isa<MemRefType>(operand.get().getType()))
        values.map(argument, outside.lookup(operand.get()));
      else
        values.map(
            argument,
            w.read(memories[operand.get()], place(k, operand, loops)).value);
    }
    emit(k, body, values);
    auto yield = cast<linalg::YieldOp>(body.getTerminator());
    for (auto [out, value] :
         llvm::zip(op.getDpsInitsMutable(), yield.getValues()))
      w.write({k, values.lookup(value)}, memories[out.get()],
              place(k, out, loops));
  });
}

MadeKernel moe::cuda::loopKernel(OpWriter &w, linalg::LinalgOp op) {
  Loop loop(w, op);
  if (!loop.collect())
    return std::nullopt;
  return w.write("loop", 0, [&](CudaBuilder &k) { loop.write(k); });
}

MadeKernel moe::cuda::copyKernel(OpWriter &w, memref::CopyOp op) {
  auto from = w.memory(op.getSource(), Elements::Bits, "the source");
  auto to = w.memory(op.getTarget(), Elements::Bits, "the target");
  return w.write("copy", 0, [&](CudaBuilder &k) {
    forEach(k, w.count(from), [&](Num i) { w.write(w.read(from, i), to, i); });
  });
}
