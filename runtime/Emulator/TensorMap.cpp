#include "runtime/Emulator/TensorMap.h"

#include "runtime/Core/Text.h"

namespace moe::emu {

using rt::Code;
using rt::text;

rt::Result<TensorMap> encodeTensorMap(const void *begin, uint32_t elementBytes,
                                      const uint64_t sizes[3],
                                      const uint64_t strides[2],
                                      const uint32_t box[3]) {
  auto refuse = [](std::string why) -> rt::Status {
    return {Code::InvalidArgument, "tensor map: " + std::move(why)};
  };
  if (reinterpret_cast<uintptr_t>(begin) % 16)
    return refuse("the address is not a multiple of 16");
  if (elementBytes != 1 && elementBytes != 2 && elementBytes != 4)
    return refuse(text("numbers of ", elementBytes, " bytes"));
  for (int i = 0; i < 3; ++i) {
    if (sizes[i] < 1 || sizes[i] > uint64_t(1) << 32)
      return refuse(
          text("size ", i, " is ", sizes[i], "; it can be 1 to 4294967296"));
    if (box[i] < 1 || box[i] > 256)
      return refuse(
          text("size ", i, " of the box is ", box[i], "; it can be 1 to 256"));
  }
  if (box[0] * elementBytes != 128)
    return refuse(text("rows of the box have ", box[0] * elementBytes,
                       " bytes, not the swizzle's 128"));
  for (int i = 0; i < 2; ++i)
    if (strides[i] % 16 || strides[i] >= uint64_t(1) << 40)
      return refuse(text("stride ", i, " is ", strides[i],
                         "; it can be a multiple of 16 below 2^40"));
  TensorMap map;
  map.magic = TensorMap::expectedMagic;
  map.begin = static_cast<const uint8_t *>(begin);
  for (int i = 0; i < 3; ++i) {
    map.sizes[i] = sizes[i];
    map.box[i] = box[i];
  }
  map.strides[0] = strides[0];
  map.strides[1] = strides[1];
  map.elementBytes = elementBytes;
  return map;
}

} // namespace moe::emu
