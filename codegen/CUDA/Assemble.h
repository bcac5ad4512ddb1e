#ifndef MOE_CODEGEN_CUDA_ASSEMBLE_H
#define MOE_CODEGEN_CUDA_ASSEMBLE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace moe::cuda {
/// NVIDIA's assembler, which comes with its toolkit.
struct Assembler {
  std::string path;   ///< empty: there is none
  std::string places; ///< where it was looked for, for people
};

/// Where MOE_PTXAS is set it is that file or none; else `ptxas` of PATH,
/// CUDA_HOME/bin, CUDA_PATH/bin or /usr/local/cuda/bin.
Assembler findAssembler();

/// What the assembler makes of `ptx` for the architecture ("sm_90a"). Both pass
/// through memory, so no file is left whatever happens. A failure is the
/// assembler's path and its first line.
llvm::Expected<std::string> assemble(const Assembler &assembler,
                                     llvm::StringRef ptx,
                                     llvm::StringRef architecture);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_ASSEMBLE_H
