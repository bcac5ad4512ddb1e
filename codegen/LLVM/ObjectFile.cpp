#include "codegen/LLVM/ObjectFile.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;

/// MLIR's generic allocation functions under the runtime's names.
static void renameAllocators(llvm::Module &module) {
  for (auto [from, to] :
       {std::pair("_mlir_memref_to_llvm_alloc", "moert_alloc"),
        std::pair("_mlir_memref_to_llvm_free", "moert_free")})
    if (llvm::Function *function = module.getFunction(from)) {
      if (llvm::Function *known = module.getFunction(to)) {
        function->replaceAllUsesWith(known);
        function->eraseFromParent();
      } else {
        function->setName(to);
      }
    }
  if (llvm::Function *alloc = module.getFunction("moert_alloc")) {
    alloc->setReturnDoesNotAlias();
    alloc->addRetAttr(llvm::Attribute::getWithAlignment(module.getContext(),
                                                        llvm::Align(64)));
  }
}

void moe::optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                         unsigned optLevel) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graph;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  static const llvm::OptimizationLevel levels[] = {
      llvm::OptimizationLevel::O0, llvm::OptimizationLevel::O1,
      llvm::OptimizationLevel::O2, llvm::OptimizationLevel::O3};
  llvm::ModulePassManager passes =
      optLevel == 0 ? builder.buildO0DefaultPipeline(levels[0])
                    : builder.buildPerModuleDefaultPipeline(
                          levels[std::min(optLevel, 3u)]);
  passes.run(module, modules);
}

std::unique_ptr<llvm::Module>
moe::translateToLLVM(ModuleOp module, const ModelSignature &signature,
                     const DescriptorText &text, llvm::TargetMachine &machine,
                     unsigned optLevel, llvm::LLVMContext &context) {
  auto llvmModule = translateModuleToLLVMIR(module, context, text.name);
  if (!llvmModule)
    return nullptr;
  llvmModule->setDataLayout(machine.createDataLayout());
  llvmModule->setTargetTriple(machine.getTargetTriple());
  renameAllocators(*llvmModule);
  emitDescriptor(*llvmModule, signature, text);
  for (llvm::Function &function : *llvmModule) {
    if (function.isDeclaration())
      continue;
    // Everything is reached through the descriptor.
    function.setLinkage(llvm::GlobalValue::InternalLinkage);
    function.addFnAttr("target-cpu", machine.getTargetCPU());
    function.addFnAttr("target-features", machine.getTargetFeatureString());
    // LLVM prefers 256 bits on several machines where 512 are faster here.
    function.addFnAttr("prefer-vector-width", "512");
  }
  optimizeModule(*llvmModule, machine, optLevel);
  return llvmModule;
}

llvm::Expected<llvm::SmallVector<char, 0>>
moe::emitObject(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr,
                                  llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("the target cannot emit object files");
  passes.run(module);
  return bytes;
}
