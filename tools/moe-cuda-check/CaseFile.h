// A recorded run of kernels: test/unit/codegen/CaseRecorder writes them.
#ifndef MOE_TOOLS_MOECUDACHECK_CASEFILE_H
#define MOE_TOOLS_MOECUDACHECK_CASEFILE_H

#include "runtime/Device/TensorMap.h"
#include "runtime/moe_runtime.h"

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
};

/// What a buffer consists of.
enum class Element : int32_t {
  F32 = MOE_F32,
  BF16 = MOE_BF16,
  F16 = MOE_F16,
  I32 = MOE_I32
};
size_t sizeOf(Element element);
/// Number `i` of some bytes.
double numberAt(const std::string &bytes, Element element, size_t i);

/// How a buffer is compared afterwards.
struct Comparison {
  enum Kind {
    Exact, ///< all bytes
    Near,  ///< real numbers, each to what is allowed of it
    Kinds  ///< real numbers: NaN where there is one, and nowhere else; of
           ///< integers, 0
  } kind;
  size_t buffer;
  Element element;      ///< not of all bytes
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

/// The file of `test` with kernels for a device of capability `major`.`minor`,
/// of those of sm_90a (`arch`) or of any GPU; null where it has none.
const std::string *ptxFor(const CaseFile &test, const std::string &arch,
                          int major, int minor);

/// Reads `folder`/`name`.case and all that it names but PTX.
rt::Result<CaseFile> readCase(const std::string &folder,
                              const std::string &name);

/// A file of the folder.
rt::Result<std::string> readBytes(const std::string &path);

} // namespace moe::check

#endif // MOE_TOOLS_MOECUDACHECK_CASEFILE_H
