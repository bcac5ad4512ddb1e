// The safetensors format: https://huggingface.co/docs/safetensors
#ifndef MOE_RUNTIME_BANK_SAFETENSORS_H
#define MOE_RUNTIME_BANK_SAFETENSORS_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace moe::rt {

/// Where a tensor of an archive lies.
struct ArchiveTensor {
  std::string name;
  std::string dtype; // the format's spelling: "BF16", "F8_E4M3"
  std::vector<int64_t> shape;
  uint64_t offset = 0; // from the file's start
  uint64_t size = 0;
};

struct Safetensors {
  std::vector<ArchiveTensor> tensors; // in order of offset
  std::map<std::string, std::string> metadata;
};

/// Reads the header and checks everything that it says: known types, sizes that
/// match shapes, data that cover the file without overlap or hole, as the
/// format demands. `bytes` is the whole file, of which only the header is read.
Result<Safetensors> parseSafetensors(std::string_view bytes,
                                     const std::string &what);

/// The start of a file: length and header, after which the data of `tensors`
/// follow in their order, without gaps. Offsets in `tensors` are not looked at.
std::string
safetensorsHeader(const std::map<std::string, std::string> &metadata,
                  const std::vector<ArchiveTensor> &tensors);

/// The moe_dtype of a safetensors type, or 0 for those without one.
int32_t safetensorsType(std::string_view dtype);

} // namespace moe::rt

#endif // MOE_RUNTIME_BANK_SAFETENSORS_H
