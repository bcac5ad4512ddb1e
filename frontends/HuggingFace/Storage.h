#ifndef MOE_FRONTENDS_HUGGINGFACE_STORAGE_H
#define MOE_FRONTENDS_HUGGINGFACE_STORAGE_H

#include "dialects/MoE/MoEOps.h"
#include "runtime/Core/Json.h"
#include <optional>

namespace moe::hf {

/// How a matrix lies in the file, where that is not plain numbers.
struct Storage {
  // Quantised: the fields of `#moe.quant`.
  int64_t bits = 0, block = 0;
  std::string code = "int";
  bool hasZeros = false;
  bool isFloat = false; ///< `int` over 8-bit floats
  // Factored: which terms there are.
  bool hasBase = false, hasFactors = false, hasRows = false;
  double scale = 1;

  bool isQuantised() const { return bits != 0; }
  bool isFactored() const { return hasFactors || hasRows; }
  bool isPlain() const { return !isQuantised() && !isFactored(); }

  /// What config.json calls it: "int4.32". Equal storages have equal names.
  std::string name() const;
  rt::Json json() const;
  /// Nothing where it is not well formed.
  static std::optional<Storage> parse(const rt::Json &json);
};

// What the parts of a matrix add to its name.
inline constexpr llvm::StringLiteral kWeight = ".weight",
                                     kPacked = ".weight_packed",
                                     kScale = ".weight_scale",
                                     kZeros = ".weight_zero_point",
                                     kShape = ".weight_shape",
                                     kLeft = ".weight_left",
                                     kRight = ".weight_right",
                                     kRows = ".weight_rows",
                                     kRowIds = ".weight_row_ids";

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_STORAGE_H
