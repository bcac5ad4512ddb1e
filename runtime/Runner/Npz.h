// numpy's archives of arrays: zip files of .npy files.
#ifndef MOE_RUNTIME_RUNNER_NPZ_H
#define MOE_RUNTIME_RUNNER_NPZ_H

#include "runtime/Runner/Npy.h"

namespace moe::rt {

/// Reads every array of an .npz image: stored or deflated, checksums verified.
/// A '|' in a member's name stands for '/', which zip tools take for a folder.
Result<std::vector<Array>> parseNpz(std::string_view bytes,
                                    const std::string &what);

/// Reads and writes files. Written members are stored, not deflated.
Result<std::vector<Array>> readNpz(const std::string &path);

struct NamedTensor {
  std::string name;
  moe_tensor tensor;
};
Status writeNpz(const std::string &path,
                const std::vector<NamedTensor> &tensors);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_NPZ_H
