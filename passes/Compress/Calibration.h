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
  /// Why no sample can say what the layer's gate makes of it, or
  /// (`whyNoOutput`) what the layer does; empty where one can.
  static std::string whyNot(const MoELayer &layer);
  static std::string whyNoOutput(const MoELayer &layer);

  /// Takes at most `rows` rows of the profile's sample. Fails with an error
  /// that says what is missing.
  static mlir::FailureOr<Calibration> of(const MoELayer &layer,
                                         const Profile &profile,
                                         WeightSource &weights, int64_t rows);

  const Numbers &getInputs() const { return inputs; }
  /// The weight of every column for every row, `[rows, experts]`.
  const Numbers &getGates() const { return gates; }
  /// The weight of every entry: the sum over the columns that it serves
  /// (`columnsOf`).
  const Numbers &getEntryGates() const { return entryGates; }
  /// The same where the gate may choose among `columns` alone; the numbers of
  /// the others are zero. Groups are those of the columns where they stay
  /// equally large, else there are none.
  Numbers gateWeights(llvm::ArrayRef<int64_t> columns) const;
  /// The same where all columns may be chosen, but those that are not `kept`
  /// are null experts.
  Numbers nullWeights(llvm::ArrayRef<int64_t> kept) const;
  /// For every row the second slot's weight over the first's, slots in the
  /// order of choice; 0 where there is none.
  std::vector<double> slotRatios() const;

  /// What entry `e`, as it is stored first, makes of all rows, `[rows, out]`.
  mlir::FailureOr<Numbers> outputs(int64_t e, WeightSource &weights) const {
    return outputs(e, 0, inputs.rows, weights);
  }

  /// The same of rows `first` to `last`.
  mlir::FailureOr<Numbers> outputs(int64_t e, int64_t first, int64_t last,
                                   WeightSource &weights) const;
  /// Fails with an error where the layer scales what experts read, so that they
  /// read something else than the sample.
  mlir::LogicalResult checkUnscaled() const;

  /// The groups of equal size that the gate ranks first, 0 where there are
  /// none.
  int64_t getGroups() const;

  /// Entries that compute something, per row: neither skipped nor null.
  double slotsPerToken() const;

  /// What the layer makes of all rows.
  mlir::FailureOr<Numbers> layerOutput(WeightSource &weights) const;

private:
  mlir::FailureOr<Numbers> outputsOf(int64_t e, int64_t storage,
                                     const Numbers &rows,
                                     WeightSource &weights) const;
  /// The weights before storages are chosen (step 5 of `moe.gate`); entries of
  /// columns that are `dropped` are null. `slots` are columns, best first.
  Numbers chosenWeights(llvm::ArrayRef<int64_t> columns,
                        llvm::ArrayRef<int64_t> dropped = {},
                        std::vector<int64_t> *slots = nullptr) const;
  /// Without those that no storage runs.
  Numbers withoutSkipped(Numbers weights) const;

  MoELayer layer;
  Numbers inputs, logits, bias, gates, entryGates;
  /// Of each column for each row, where the gate chooses storages.
  std::optional<Numbers> storages;
};

/// Do `columns` of `all` stand for as many in each of the groups that lie side
/// by side?
bool isEven(llvm::ArrayRef<int64_t> columns, int64_t groups, int64_t all);

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
