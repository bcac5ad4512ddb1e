#ifndef MOE_CODEGEN_LLVM_TARGET_H
#define MOE_CODEGEN_LLVM_TARGET_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include <memory>
#include <string>

namespace moe {

/// What `--target` says. Only this file knows target strings.
struct CpuTarget {
  std::string cpu;      // LLVM's name: "sapphirerapids", "x86-64-v3"
  std::string features; // LLVM's feature string of the host, "" for others
  /// Whether 512-bit vectors may be used.
  bool avx512 = false;
};

struct Targets {
  CpuTarget cpu;
  std::string cuda; // an architecture such as "sm_90a"; empty: no GPU
};

/// "cpu", "cpu:native", "cpu:x86-64-v3", "cpu:znver4", "cuda:sm_90a" and so on,
/// separated by commas, one of a kind. The processor is this machine's where
/// none is said. An unknown name is an error that lists some known ones; that
/// of a GPU is not looked up here.
llvm::Expected<Targets> parseTargets(llvm::StringRef text);

/// A machine for `target`, position independent, at `optLevel` 0 to 3.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const CpuTarget &target, unsigned optLevel);

/// The processor features that code for `target` relies on, in the spelling
/// that the runtime checks at start, separated by commas.
std::string requiredFeatures(const llvm::TargetMachine &machine);

} // namespace moe

#endif // MOE_CODEGEN_LLVM_TARGET_H
