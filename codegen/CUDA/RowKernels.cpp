// Kernels that go through the rows of a layer's input and output.
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

/// `sum`, plus number `i` of `residual` where `isAdded` is not 0.
static Num plusResidual(CudaBuilder &k, Num sum, Num residual, Num isAdded,
                        Num i) {
  return k.choose(
      isAdded == 0, [&] { return sum; },
      [&] { return k.load(k.f32(), residual, i) + sum; });
}

void moe::cuda::emitFinish(ModuleOp module, StringRef name,
                           const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  Type i32 = IntegerType::get(context, 32);
  CudaBuilder::kernel(
      module, name, {pointer, i32, pointer, pointer, i32}, kLayerThreads, 0,
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num tokens = k.convert(arguments[1], k.i64());
        forEach(k, tokens * shape.outputs, [&](Num i) {
          Num at =
              i / shape.outputs * shape.paddedOutputs() + i % shape.outputs;
          Num sum = k.load(k.f32(), arguments[0], at);
          k.store(plusResidual(k, sum, arguments[3], arguments[4], i),
                  arguments[2], i);
        });
      });
}

void moe::cuda::emitCombine(ModuleOp module, StringRef name,
                            const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  Type i32 = IntegerType::get(context, 32);
  CudaBuilder::kernel(
      module, name, {pointer, pointer, pointer, i32, pointer, pointer, i32},
      kLayerThreads, 0, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num rows = arguments[0], place = arguments[1], weights = arguments[2];
        Num tokens = k.convert(arguments[3], k.i64()), out = arguments[4];
        forEach(k, tokens * shape.outputs, [&](Num i) {
          Num token = i / shape.outputs, output = i % shape.outputs;
          Num sum = k.real(0);
          for (int64_t choice = 0; choice < shape.topK; ++choice) {
            Num slot = token * shape.topK + choice;
            Num at = at32(k, place, slot);
            sum = k.choose(
                at < k.integer(0), [&] { return sum; },
                [&] {
                  Num value = k.load(k.f32(), rows,
                                     at * shape.paddedOutputs() + output);
                  Num weight = shape.scaleInput // it has done its work
                                   ? k.real(1)
                                   : k.load(k.f32(), weights, slot);
                  if (shape.outputScale != 1)
                    weight = weight * k.real(shape.outputScale);
                  return sum + weight * value;
                });
          }
          k.store(plusResidual(k, sum, arguments[5], arguments[6], i), out, i);
        });
      });
}

void moe::cuda::emitRound(ModuleOp module, StringRef name,
                          const LayerShape &shape) {
  MLIRContext *context = module.getContext();
  Type pointer = CudaBuilder::global(context);
  CudaBuilder::kernel(
      module, name, {pointer, IntegerType::get(context, 32), pointer},
      kLayerThreads, 0, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num tokens = k.convert(arguments[1], k.i64());
        int64_t width = shape.paddedInputs();
        forEach(k, tokens * width, [&](Num i) {
          Num token = i / width, at = i % width;
          Num value = k.choose(
              at < k.integer(shape.inputs),
              [&] {
                return k.load(k.f32(), arguments[0], token * shape.inputs + at);
              },
              [&] { return k.real(0); });
          k.store(k.convert(value, typeOf(k, shape.element)), arguments[2], i);
        });
      });
}
