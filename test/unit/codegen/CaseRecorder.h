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
/// A run of kernels. Only there where the environment has MOE_RECORD_CASES, a
/// folder.
class CaseRecorder {
public:
  static bool isWanted();

  /// A piece of memory, as it is before the first launch. Gives its number.
  size_t buffer(const void *begin, size_t bytes);
  /// The number of the buffer that begins there.
  size_t at(const void *begin) const;
  /// What stands for a buffer of matrices among the values of a launch: a map
  /// of boxes of `boxRows` rows (runtime/Device/TensorMap.h).
  void map(const void *map, const void *buffer, uint64_t matrices,
           uint64_t rows, uint64_t depth, uint32_t boxRows);
  /// Values are addresses of buffers, those of maps, and bits of numbers.
  /// Buffers have what the host wrote by then.
  void launch(const char *name, uint32_t blocks, uint32_t threads,
              uint32_t sharedBytes, const std::vector<uint64_t> &values);
  /// All launches are over; memory may go.
  void keepResults();

  /// How buffers are compared; the last word on each counts, and those that
  /// nothing is said of are not compared. Numbers that kernels did not change
  /// are to be the same, not only of the same kind.
  enum class Element { F32, BF16, F16, I32 };
  /// To the last bit.
  void expectExact(size_t buffer);
  /// Real numbers: NaN where there is one and nowhere else. Integers: the same
  /// of 0.
  void expectKinds(size_t buffer, Element element);
  /// Each number within what is allowed of its value; the same bits where
  /// nothing is allowed and there is no NaN.
  void expectNear(size_t buffer, Element element,
                  const std::vector<double> &values,
                  const std::vector<double> &allowed);

  /// Writes the case, named after the test that runs. `ptx` keeps the names of
  /// the files of a module that has several cases. Kernels of sm_90a are for
  /// that alone, others for every GPU that has their instructions.
  void write(mlir::ModuleOp kernels, std::map<std::string, std::string> &ptx,
             bool isHopper);

private:
  struct Buffer {
    const uint8_t *begin;
    size_t bytes;
    std::string before, after;
  };
  enum class Kind { None, Exact, Kinds, Near };
  struct Comparison {
    Kind kind = Kind::None;
    Element element = Element::F32;
    std::vector<float> values, allowed;
  };
  std::string describe(uint64_t value) const;
  std::string comparison(size_t buffer) const;

  std::vector<Buffer> buffers;
  std::vector<Comparison> comparisons;      ///< of each buffer
  std::map<const void *, std::string> maps; // as launches have them
  std::string launches;
};
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_CASERECORDER_H
