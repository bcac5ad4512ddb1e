// numpy's array file:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#ifndef MOE_RUNTIME_RUNNER_NPY_H
#define MOE_RUNTIME_RUNNER_NPY_H

#include "runtime/Core/File.h"
#include "runtime/Core/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace moe::rt {

/// A named tensor that owns its data.
struct Array {
  std::string name;
  moe_tensor tensor = {};
  Buffer storage;
};

/// Reads one .npy image. Strict: format 1 to 3, little-endian numbers or
/// booleans, C order, rank up to 8, and exactly the bytes that the shape asks
/// for. 'V2', as which numpy saves ml_dtypes.bfloat16, is bfloat16. `what`
/// names the file in messages.
Result<Array> parseNpy(std::string_view bytes, const std::string &what);

/// Header of a .npy image for this tensor; its data follow. bfloat16 is
/// written as uint16 bit patterns, for want of a name in numpy.
std::string npyHeader(const moe_tensor &tensor);

/// Reads and writes files.
Result<Array> readNpy(const std::string &path);
Status writeNpy(const std::string &path, const moe_tensor &tensor);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_NPY_H
