#ifndef MOE_CODEGEN_LLVM_OBJECTFILE_H
#define MOE_CODEGEN_LLVM_OBJECTFILE_H

#include "codegen/LLVM/ModelDescriptor.h"
#include "codegen/LLVM/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

namespace moe {

/// Optimised LLVM IR of a module in phase `llvm`, with the model's descriptor;
/// null after a diagnostic.
std::unique_ptr<llvm::Module>
translateToLLVM(mlir::ModuleOp module, const ModelSignature &signature,
                const DescriptorText &text, llvm::TargetMachine &machine,
                unsigned optLevel, llvm::LLVMContext &context);

/// LLVM's own pipeline of level `optLevel`, 0 to 3.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                    unsigned optLevel);

/// The object file of `module`.
llvm::Expected<llvm::SmallVector<char, 0>>
emitObject(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace moe

#endif // MOE_CODEGEN_LLVM_OBJECTFILE_H
