#ifndef MOE_PASSES_ANALYSIS_QUANTIZATION_H
#define MOE_PASSES_ANALYSIS_QUANTIZATION_H

#include "mlir/Support/LLVM.h"
#include "passes/Analysis/Numbers.h"
#include <array>
#include <optional>

namespace moe {

struct Compensation;

/// How numbers become codes; the fields of `#moe.quantize`.
struct QuantFormat {
  int64_t bits = 4;
  int64_t block = 32; ///< inputs to a scale; 0: a whole row
  std::string code = "int";
  bool asymmetric = false;

  bool operator==(const QuantFormat &other) const {
    return bits == other.bits && block == other.block && code == other.code &&
           asymmetric == other.asymmetric;
  }
};

/// A matrix as codes: number (n, k) is
/// `(value(code) - zero[n, k / block]) * scale[n, k / block]`.
struct QuantizedMatrix {
  int64_t rows = 0, columns = 0, blocks = 0;
  std::vector<uint8_t> codes; ///< one to a byte
  std::vector<float> scales;  ///< `[rows, blocks]`, exact in the stored type
  std::vector<uint8_t> zeros; ///< `[rows, blocks]` where asymmetric

  /// The codes, low bits first, `8 / bits` to a byte; rows begin at a byte.
  std::string packed(int64_t bits) const;
};

/// What the 256 codes of a format stand for, zero points aside. Integers are
/// stored plus half their range, so code 0 of `int` with 4 bits is -8, and 0
/// where there are zero points.
std::array<double, 256> codeValues(const QuantFormat &format);

/// Rows [first, last) of a matrix, put into `buffer` unless they are in memory;
/// called by many threads.
using RowReader = llvm::function_ref<const double *(int64_t first, int64_t last,
                                                    double *buffer)>;

/// As below, of rows that are read a few at a time. Nothing where one of the
/// numbers is not finite.
std::optional<QuantizedMatrix> quantizeRows(int64_t rows, int64_t columns,
                                            RowReader read,
                                            const QuantFormat &format,
                                            llvm::ArrayRef<double> moments);

/// Quantises rows, using all processors. `moments` (one per column, or empty)
/// are weights of the error, by which scales are searched. With `compensation`
/// codes are then chosen so that later inputs make up for what earlier ones
/// lose. Numbers are finite.
QuantizedMatrix quantize(const Numbers &numbers, const QuantFormat &format,
                         llvm::ArrayRef<double> moments,
                         const Compensation *compensation = nullptr);

/// The numbers that it stands for.
Numbers dequantize(const QuantizedMatrix &matrix, const QuantFormat &format);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_QUANTIZATION_H
