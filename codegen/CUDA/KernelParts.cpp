#include "codegen/CUDA/KernelParts.h"

using namespace moe;
using namespace moe::cuda;

Num moe::cuda::at32(CudaBuilder &k, Num base, Num index) {
  return k.convert(k.load(k.i32(), base, index), k.i64());
}

Num moe::cuda::activate(CudaBuilder &k, const LayerShape &shape, Num x) {
  constexpr double kLog2E = 1.4426950408889634;
  auto sigmoid = [&](Num z) { return k.reciprocal(k.exp2(z * -kLog2E) + 1.0); };
  switch (shape.activation) {
  case Activation::Identity:
    return x;
  case Activation::Relu:
    return k.max(x, k.real(0));
  case Activation::Relu2: {
    Num positive = k.max(x, k.real(0));
    return positive * positive;
  }
  case Activation::Silu:
    return x * sigmoid(shape.alpha == 1 ? x : x * shape.alpha);
  case Activation::GeluTanh:
    // (1 + tanh u) / 2 is sigmoid(2 u).
    return x * sigmoid((x + x * x * x * 0.044715) * 1.5957691216057308);
  }
  return x;
}

Num moe::cuda::activateGlu(CudaBuilder &k, const LayerShape &shape, Num gate,
                           Num linear) {
  if (shape.limit > 0) {
    gate = k.min(gate, k.real(shape.limit));
    linear = k.max(k.min(linear, k.real(shape.limit)), k.real(-shape.limit));
  }
  if (shape.beta != 0)
    linear = linear + shape.beta;
  return activate(k, shape, gate) * linear;
}
