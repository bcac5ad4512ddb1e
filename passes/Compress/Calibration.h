#ifndef MOE_PASSES_COMPRESS_CALIBRATION_H
#define MOE_PASSES_COMPRESS_CALIBRATION_H

#include "passes/Analysis/Numbers.h"
#include "passes/Compress/Layers.h"

namespace moe {
class Profile;
class WeightSource;

/// Fewer sampled rows say too little, about a layer or about what an expert
/// reads.
inline constexpr int64_t kEnoughRows = 16;

/// A layer on the rows that a profile has sampled from its input, in f64.
class Calibration {
public:
  /// Takes at most `rows` rows of the profile's sample. Fails with an error
  /// that says what is missing.
  static mlir::FailureOr<Calibration> of(const MoELayer &layer,
                                         const Profile &profile,
                                         WeightSource &weights, int64_t rows);

  const Numbers &getInputs() const { return inputs; }
  /// The weight of every column for every row, `[rows, experts]`.
  const Numbers &getGates() const { return gates; }
  /// The same where the gate may choose among `columns` alone; the numbers of
  /// the others are zero.
  Numbers gateWeights(llvm::ArrayRef<int64_t> columns) const;

  /// What entry `e`, as it is stored first, makes of all rows, `[rows, out]`.
  /// Fails for entries that are neither experts of matrices nor zero or copy.
  mlir::FailureOr<Numbers> outputs(int64_t e, WeightSource &weights) const {
    return outputs(e, /*storage=*/0, inputs, weights);
  }

  /// Entries that compute something, per row: neither skipped nor null.
  double slotsPerToken() const;

  /// What the layer makes of all rows.
  mlir::FailureOr<Numbers> layerOutput(WeightSource &weights) const;

private:
  mlir::FailureOr<Numbers> outputs(int64_t e, int64_t storage,
                                   const Numbers &rows,
                                   WeightSource &weights) const;
  /// The weights before storages are chosen (step 5 of `moe.gate`).
  Numbers chosenWeights(llvm::ArrayRef<int64_t> columns) const;

  MoELayer layer;
  Numbers inputs, logits, bias, gates;
  /// Of each column for each row, where the gate chooses storages.
  std::optional<Numbers> storages;
};

/// Has the layer a router that is one matrix, with stored weights?
bool hasLinearRouter(const MoELayer &layer);
/// The matrix of such a router, `[experts, features]`.
mlir::FailureOr<Numbers> routerWeight(const MoELayer &layer,
                                      WeightSource &weights);

/// The storage of every chosen slot of `weights` `[rows, experts]`, by the
/// share of the heavier ones: 0 up to the first of `limits`, 1 up to the
/// second, -1 beyond, and for what is not chosen (arXiv 2411.01433, section
/// 3.2).
Numbers chooseStorages(const Numbers &weights, llvm::ArrayRef<double> limits);

/// What the last matrix of an expert reads for rows `x`, `[rows, hidden]`.
mlir::FailureOr<Numbers> hiddenOf(ExpertOp expert, const Numbers &x,
                                  WeightSource &weights);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_CALIBRATION_H
