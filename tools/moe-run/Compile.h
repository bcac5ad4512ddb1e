// Running .onnx files: moe-opt makes a library of them first.
#ifndef MOE_TOOLS_MOE_RUN_COMPILE_H
#define MOE_TOOLS_MOE_RUN_COMPILE_H

#include "runtime/Core/Status.h"
#include "runtime/Runner/Options.h"

#include <string>

namespace moe::rt {

/// Compiles an .onnx file with the moe-opt beside this program into a folder
/// that only this user can enter, loads the library and removes it again.
/// Everything else goes to loadModel(). There is code for GPUs where options
/// ask for one.
Result<const moe_api *> compileOrLoad(const Options &options);

/// The library that plays a CUDA driver.
std::string emulatorPath();

} // namespace moe::rt

#endif // MOE_TOOLS_MOE_RUN_COMPILE_H
