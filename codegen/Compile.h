#ifndef MOE_CODEGEN_COMPILE_H
#define MOE_CODEGEN_COMPILE_H

#include "codegen/LLVM/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/Analysis/WeightSource.h"
#include "runtime/Bank/Profile.h"
#include "llvm/Support/JSON.h"

namespace moe {

enum class Phase { Imported, Raised, Optimized, Bufferized, LLVM };
enum class Emit {
  Executable,
  Library,
  Bundle,
  Object,
  LLVMIR,
  PTX,
  MLIR,
  ONNX,
  HuggingFace
};
enum class Road { Fast, Oracle, OracleF64 };
/// Whether kernels are assembled, too: where an assembler is found, or without
/// one not at all.
enum class Cubin { Never, Auto, Require };

struct CompileOptions {
  CpuTarget target;
  /// Architecture of a GPU that layers have code for, too; empty: none.
  std::string cuda;
  /// Whether it may round products of f32 of many tokens to 10 bits.
  bool tf32 = false;
  /// Whether it may round inputs of fp8 experts to fp8; from sm_89 on.
  bool fp8Inputs = false;
  Cubin cubin = Cubin::Never;
  unsigned optLevel = 2;
  Road road = Road::Fast;
  /// Whether raising may replace ONNX ops by moe and moert ops.
  bool raise = true;
  /// Observe layers for the profile; with `gram` also all pairs of features.
  bool instrument = false, gram = false;
  /// Put the model's fingerprint and its routers' hashes into the facts; that
  /// reads weights.
  bool fingerprint = false;
  /// Profiles of runs of the model, by the names of their files: checked to be
  /// of it. Facts compare its experts then.
  std::vector<std::pair<std::string, rt::Profile>> profiles;
  /// The fingerprint that profiles must have, where it is not the module's:
  /// that of the model before it was compressed.
  std::string profileFingerprint;
  /// The profiles have been checked and name layers as the module does.
  bool profilesChecked = false;
  /// What ports are for (name, role), where the model is run to measure it.
  std::vector<std::pair<std::string, std::string>> roles;
  /// More facts for the manifest: what compression cost.
  llvm::json::Object extraFacts;
  /// The model's name in messages and in moe_<name>_api.
  std::string name;
  /// Called with the name of each step as it begins.
  std::function<void(llvm::StringRef)> progress;
  /// Called with what is worth knowing, but no reason to warn; may be null.
  std::function<void(const llvm::Twine &)> note;
  /// Called now and then within a long step: how much of how much is done.
  std::function<void(uint64_t, uint64_t)> progressWithin;
};

/// Raises the MoE layers of `module` (phase `imported`) and leaves all other
/// nodes as they are.
mlir::LogicalResult raiseExperts(mlir::ModuleOp module,
                                 const CompileOptions &options);

/// Runs the pipelines on `module` until phase `last`, in place.
mlir::LogicalResult lowerTo(mlir::ModuleOp module, Phase last,
                            WeightSource &weights,
                            const CompileOptions &options,
                            llvm::json::Object &facts);

/// Whether a result of that kind can be written to `path`, as far as can be
/// known before the work.
llvm::Error checkOutput(llvm::StringRef path, Emit emit);

/// Compiles `module` (phase `imported` or later) to `path`. Nothing
/// half-written is left: the file appears when it is complete. A library's C
/// header appears right after it, under the same name with ".h".
mlir::LogicalResult compileTo(mlir::ModuleOp module, llvm::StringRef path,
                              Emit emit, WeightSource &weights,
                              const CompileOptions &options,
                              llvm::json::Object &facts);

} // namespace moe

#endif // MOE_CODEGEN_COMPILE_H
