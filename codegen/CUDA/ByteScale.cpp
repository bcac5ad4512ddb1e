#include "codegen/CUDA/ByteScale.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

ByteScale::ByteScale(CudaBuilder &k, Num largest) : k(k) {
  Num isNone = largest < 0x1p-100, one = k.real(1);
  scale = k.select(isNone, one, largest / 448.0);
  inverse = k.select(isNone, one, k.real(448) / largest);
}

Nums ByteScale::codes(ArrayRef<Num> numbers) const {
  Nums words;
  for (size_t i = 0; i + 4 <= numbers.size(); i += 4) {
    Nums four;
    for (Num number : numbers.slice(i, 4))
      four.push_back(number * inverse);
    words.push_back(k.roundE4M3(four));
  }
  return words;
}

Num ByteScale::largest(CudaBuilder &k, ArrayRef<Num> numbers, int64_t lanes) {
  Num most = k.real(0);
  for (Num number : numbers) {
    Num size =
        k.bitcast(k.bitcast(number, k.i32()) & k.word(0x7FFFFFFF), k.f32());
    most = k.max(size, most);
  }
  for (int64_t step = lanes / 2; step > 0; step /= 2)
    most = k.max(k.shuffle(most, k.convert(k.integer(step), k.i32()),
                           moegpu::ShuffleKind::Xor),
                 most);
  return most;
}
