// A recorded run of kernels: test/unit/codegen/CaseRecorder writes them.
#ifndef MOE_TOOLS_MOECUDACHECK_CASEFILE_H
#define MOE_TOOLS_MOECUDACHECK_CASEFILE_H

#include "runtime/Device/TensorMap.h"

#include <map>
#include <string>
#include <vector>

namespace moe::check {

struct Launch {
  std::string kernel;
  uint32_t blocks = 0, threads = 0, sharedBytes = 0;
  struct Argument {
    enum Kind { Number, Buffer, Map } kind;
    int64_t value; ///< or the number of the buffer
    /// Of a map of the buffer.
    rt::MatrixStack stack;
    uint32_t boxRows;
  };
  std::vector<Argument> arguments;

  bool hasMap() const;
};

/// How a buffer is compared afterwards.
struct Comparison {
  enum Kind {
    Exact, ///< all bytes
    Near,  ///< f32 numbers, each to what is allowed of it
    Kinds  ///< f32 numbers: NaN where there is one, and nowhere else
  } kind;
  size_t buffer;
  std::string emulated; ///< what the emulator left there
  std::vector<float> values, allowed;
};

struct CaseFile {
  std::string name, folder;
  std::map<std::string, std::string> ptx; ///< file by architecture
  std::vector<std::string> buffers;       ///< before the first launch
  std::vector<Launch> launches;
  std::vector<Comparison> comparisons;
};

/// Reads `folder`/`name`.case and all that it names but PTX.
rt::Result<CaseFile> readCase(const std::string &folder,
                              const std::string &name);

/// A file of the folder.
rt::Result<std::string> readBytes(const std::string &path);

} // namespace moe::check

#endif // MOE_TOOLS_MOECUDACHECK_CASEFILE_H
