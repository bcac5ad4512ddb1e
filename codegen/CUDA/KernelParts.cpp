#include "codegen/CUDA/KernelParts.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

Num moe::cuda::at32(CudaBuilder &k, Num base, Num index) {
  return k.convert(k.load(k.i32(), base, index), k.i64());
}

Type moe::cuda::typeOf(CudaBuilder &k, Element element) {
  switch (element) {
  case Element::BF16:
    return k.bf16();
  case Element::F16:
    return k.b.getF16Type();
  case Element::F32:
    return k.f32();
  }
  llvm_unreachable("all elements are handled");
}

void moe::cuda::forShare(CudaBuilder &k, Num count, Num first, Num all,
                         llvm::function_ref<void(Num)> body) {
  k.loop(0, (count + all - k.integer(1)) / all, [&](Num round) {
    Num i = round * all + first;
    k.when(i < count, [&] { body(i); });
  });
}

void moe::cuda::forEach(CudaBuilder &k, Num count,
                        llvm::function_ref<void(Num)> body) {
  forShare(k, count, k.block() * kLayerThreads + k.thread(),
           k.grid() * kLayerThreads, body);
}

void moe::cuda::forEachWarp(CudaBuilder &k, Num count,
                            llvm::function_ref<void(Num)> body) {
  constexpr int64_t warps = kLayerThreads / 32;
  forShare(k, count, k.block() * warps + k.warp(), k.grid() * warps, body);
}

void moe::cuda::forEachBlock(CudaBuilder &k, Num count,
                             llvm::function_ref<void(Num)> body) {
  forShare(k, count, k.block(), k.grid(), body);
}

KernelBuilder::Nums
moe::cuda::either(CudaBuilder &k, Num condition,
                  llvm::function_ref<KernelBuilder::Nums()> yes,
                  llvm::function_ref<KernelBuilder::Nums()> no) {
  auto arm = [&](llvm::function_ref<KernelBuilder::Nums()> body) {
    return [&k, body](OpBuilder &inner, Location loc) {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPoint(inner.getInsertionBlock(),
                            inner.getInsertionPoint());
      SmallVector<Value> values;
      for (Num value : body())
        values.push_back(value.value);
      scf::YieldOp::create(k.b, loc, values);
    };
  };
  KernelBuilder::Nums results;
  auto made = scf::IfOp::create(k.b, k.loc, condition.value, arm(yes), arm(no));
  for (Value value : made.getResults())
    results.push_back({k, value});
  return results;
}

Num moe::cuda::ofLane(CudaBuilder &k, Num value, Num lane) {
  return k.shuffle(value, k.convert(lane, k.i32()), moegpu::ShuffleKind::Idx);
}

Num moe::cuda::ofLanes(CudaBuilder &k, Num value, int64_t lanes,
                       llvm::function_ref<Num(Num, Num)> join) {
  for (int64_t step = lanes / 2; step > 0; step /= 2)
    value = join(value, k.shuffle(value, k.convert(k.integer(step), k.i32()),
                                  moegpu::ShuffleKind::Xor));
  return value;
}

Num moe::cuda::ofBlock(CudaBuilder &k, Num value,
                       llvm::function_ref<Num(Num, Num)> join) {
  value = ofLanes(k, value, 32, join);
  Type type = value.value.getType();
  Num room = k.shared(0), warp = k.thread() / 32;
  k.when(k.lane() == 0, [&] { k.store(value, room, warp); });
  k.barrier();
  Num all = k.load(type, room, k.integer(0));
  for (int64_t w = 1; w < kLayerThreads / 32; ++w)
    all = join(all, k.load(type, room, k.integer(w)));
  k.barrier(); // before the next one
  return all;
}

Num moe::cuda::warpMax(CudaBuilder &k, Num value) {
  for (int64_t step : {16, 8, 4, 2, 1}) {
    Num other = k.shuffle(value, k.convert(k.integer(step), k.i32()),
                          moegpu::ShuffleKind::Xor);
    // A number beats NaN from either side.
    value = k.select(value == value, k.max(other, value), other);
  }
  return value;
}

static constexpr double kLog2E = 1.4426950408889634;

static Num sigmoid(CudaBuilder &k, Num x) {
  return k.reciprocal(k.exp2(x * -kLog2E) + 1.0);
}

/// Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most.
static Num erf(CudaBuilder &k, Num x) {
  Num size = k.max(x, x * -1.0);
  Num t = k.reciprocal(size * 0.3275911 + 1.0);
  Num sum = k.real(1.061405429);
  for (double c : {-1.453152027, 1.421413741, -0.284496736, 0.254829592})
    sum = k.fma(sum, t, k.real(c));
  Num rest = sum * t * k.exp2(size * size * -kLog2E);
  Num value = rest * -1.0 + 1.0;
  return k.select(x < k.real(0), value * -1.0, value);
}

// A comparison with NaN is false: it must choose NaN.

Num moe::cuda::activate(CudaBuilder &k, const LayerShape &shape, Num x) {
  if (shape.limit > 0)
    x = k.min(k.real(shape.limit), x);
  switch (shape.activation) {
  case Activation::Identity:
    return x;
  case Activation::Relu:
    return k.max(k.real(0), x);
  case Activation::Relu2: {
    Num positive = k.max(k.real(0), x);
    return positive * positive;
  }
  case Activation::Silu:
    return x * sigmoid(k, shape.alpha == 1 ? x : x * shape.alpha);
  case Activation::GeluTanh:
    // (1 + tanh u) / 2 is sigmoid(2 u).
    return x * sigmoid(k, (x + x * x * x * 0.044715) * 1.5957691216057308);
  case Activation::Gelu:
    return x * 0.5 * (erf(k, x * 0.7071067811865476) + 1.0);
  }
  llvm_unreachable("all activations are handled");
}

Num moe::cuda::activateGlu(CudaBuilder &k, const LayerShape &shape, Num gate,
                           Num linear) {
  if (shape.limit > 0)
    linear = k.max(k.real(-shape.limit), k.min(k.real(shape.limit), linear));
  if (shape.beta != 0)
    linear = linear + shape.beta;
  return activate(k, shape, gate) * linear;
}

Num moe::cuda::inputRow(CudaBuilder &k, const LayerShape &shape, Num order,
                        Num place) {
  return shape.isSorted ? place : at32(k, order, place) / shape.topK;
}

ExpertMatrix ExpertMatrix::up(const LayerShape &shape) {
  assert(shape.isSupported() && "the caller looks first");
  return {shape.element,        shape.tf32,           shape.upCoded,
          shape.hasUpBias,      shape.paddedInputs(), shape.inputs,
          shape.upTiles() * 16, shape.scaleInput,     shape.inputBytes()};
}

ExpertMatrix ExpertMatrix::down(const LayerShape &shape) {
  ExpertMatrix matrix = plainDown(shape);
  matrix.bytes = shape.hiddenBytes();
  return matrix;
}

ExpertMatrix ExpertMatrix::plainDown(const LayerShape &shape) {
  assert(shape.isSupported() && "the caller looks first");
  return {shape.element,        shape.tf32,           shape.downCoded,
          shape.hasDownBias,    shape.paddedHidden(), shape.hidden,
          shape.paddedOutputs()};
}

SmallVector<Type> ExpertMatrix::arguments(MLIRContext *context,
                                          unsigned own) const {
  unsigned count = own + hasBias + hasWeights;
  if (coded)
    count += 1 + coded->hasZeros;
  return SmallVector<Type>(count, CudaBuilder::global(context));
}

void ExpertMatrix::take(ArrayRef<Num> arguments, unsigned values,
                        unsigned own) {
  this->values = arguments[values];
  if (coded)
    scales = arguments[own++];
  if (coded && coded->hasZeros)
    zeros = arguments[own++];
  if (hasBias)
    bias = arguments[own++];
  if (hasWeights)
    weights = arguments[own];
}

int64_t ExpertMatrix::byteDepth() const {
  // Blocks of weights are multiples of 32, or whole rows.
  int64_t depth = coded->block % 128 == 0  ? 128
                  : coded->block % 64 == 0 ? 64
                                           : 32;
  return std::min(depth, bytes->block);
}

Num ExpertMatrix::weightOf(CudaBuilder &k, Num order, Num place) const {
  return hasWeights ? k.load(k.f32(), weights, at32(k, order, place)) : Num();
}

Num ExpertMatrix::biased(CudaBuilder &k, Num sum, Num expert, Num row,
                         Num weight) const {
  if (weight)
    sum = sum * weight;
  return hasBias ? sum + k.load(k.f32(), bias, expert * rows + row) : sum;
}
