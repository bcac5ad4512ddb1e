// Writes what the emulator was given and what came out, for moe-cuda-check,
// which does the same on a GPU.
#ifndef MOE_TEST_UNIT_CODEGEN_CASERECORDER_H
#define MOE_TEST_UNIT_CODEGEN_CASERECORDER_H

#include "mlir/IR/BuiltinOps.h"
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moe::test {
/// One run of the kernels of a layer. Only there where the environment has
/// MOE_RECORD_CASES, a folder.
class CaseRecorder {
public:
  static bool isWanted();

  /// A piece of memory, as it is before the first launch.
  void buffer(const void *begin, size_t bytes, const char *name);
  /// What stands for a buffer of matrices among the values of a launch: a map
  /// of boxes of `boxRows` rows (runtime/Device/TensorMap.h).
  void map(const void *map, const void *buffer, uint64_t matrices,
           uint64_t rows, uint64_t depth, uint32_t boxRows);
  /// Buffers have what the host wrote by then.
  void launch(const char *name, uint32_t blocks, uint32_t threads,
              uint32_t sharedBytes, const std::vector<void *> &values);
  /// What each number of `out` should be, and how far off it may be.
  void expect(const std::vector<double> &values,
              const std::vector<double> &allowed);
  /// Writes the case, named after the test that runs. `ptx` keeps the names of
  /// the files of a module that has several cases. Kernels that take maps are
  /// for sm_90a alone.
  void write(mlir::ModuleOp kernels, std::map<std::string, std::string> &ptx);

private:
  struct Buffer {
    const uint8_t *begin;
    size_t bytes;
    std::string name, before;
  };
  std::string describe(const void *value) const;

  std::vector<Buffer> buffers;
  std::map<const void *, std::string> maps; // as launches have them
  std::string launches;
  std::vector<float> values, allowed;
};
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_CASERECORDER_H
