// Checkpoints in Hugging Face's layout: config.json beside one safetensors
// file, or beside several and an index of them.
#ifndef MOE_RUNTIME_BANK_CHECKPOINT_H
#define MOE_RUNTIME_BANK_CHECKPOINT_H

#include "runtime/Bank/Safetensors.h"
#include "runtime/Core/Json.h"

namespace moe::rt {

struct CheckpointFile {
  std::string name; // "model-00001-of-00002.safetensors"
  std::string path;
  std::string_view bytes; // mapped
  Safetensors header;
};

struct Checkpoint {
  std::string folder;
  std::optional<Json> config; // of config.json, an object; none without one
  std::vector<CheckpointFile> files;
  bool isIndexed = false;

  size_t tensorCount() const {
    size_t count = 0;
    for (const CheckpointFile &file : files)
      count += file.header.tensors.size();
    return count;
  }
  std::string configPath() const { return folder + "/config.json"; }
};

/// Does the name mean a checkpoint: a folder, its config.json, a safetensors
/// file or an index of such files?
bool isCheckpoint(const std::string &path);

/// Opens what `path` names, in the sense of isCheckpoint, and config.json of
/// the same folder where there is one. Of the weights only headers are read;
/// each tensor is in one file, and in that which the index says.
Result<Checkpoint> openCheckpoint(const std::string &path);

} // namespace moe::rt

#endif // MOE_RUNTIME_BANK_CHECKPOINT_H
