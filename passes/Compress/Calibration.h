#ifndef MOE_PASSES_COMPRESS_CALIBRATION_H
#define MOE_PASSES_COMPRESS_CALIBRATION_H

#include "passes/Analysis/Numbers.h"
#include "passes/Compress/Layers.h"

namespace moe {
class Profile;
class WeightSource;

/// A layer on the rows that a profile has sampled from its input, in f64.
class Calibration {
public:
  /// Takes at most `rows` rows of the profile's sample. Fails with an error
  /// that says what is missing.
  static mlir::FailureOr<Calibration> of(const MoELayer &layer,
                                         const Profile &profile,
                                         WeightSource &weights, int64_t rows);

  const Numbers &getInputs() const { return inputs; }
  const Numbers &getLogits() const { return logits; }
  /// The weight of every column for every row, `[rows, experts]`, where the
  /// gate may choose among `columns` alone (all where empty); the numbers of
  /// the others are zero.
  Numbers gateWeights(llvm::ArrayRef<int64_t> columns) const;

  /// What entry `e` makes of all rows, `[rows, out]`; `hidden`, where given,
  /// takes what its last matrix reads. Entries that are no experts of
  /// matrices give null, copies or constants.
  mlir::FailureOr<Numbers> outputs(int64_t e, WeightSource &weights,
                                   Numbers *hidden = nullptr) const;

  /// Entries that compute something, per row: neither skipped nor null.
  double slotsPerToken() const;

  /// What the layer makes of all rows.
  mlir::FailureOr<Numbers> layerOutput(WeightSource &weights) const;

private:
  MoELayer layer;
  Numbers inputs, logits, bias;
};

/// `y` of an expert for rows `x`; see `outputs`.
mlir::FailureOr<Numbers> runExpert(ExpertOp expert, const Numbers &x,
                                   WeightSource &weights, Numbers *hidden);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_CALIBRATION_H
