// Code of the fake driver: its assembler knows `.entry`, its cubins hold the
// PTX behind the target, its kernels run on the emulator.
#include "runtime/FakeDriver/FakeDriverState.h"

#include "runtime/Emulator/TensorMap.h"

#include <cstring>

using namespace moe;
using namespace moe::fakecuda;

namespace moe::rt {
namespace {

constexpr char cubinStart[] = "\x7f"
                              "ELF fake cubin ";

std::string capabilityOf(const FakeDevice &device) {
  return "sm_" + std::to_string(device.major * 10 + device.minor) + "\n";
}

} // namespace

CuResult cuLinkCreate_v2(unsigned numOptions, CuJitOption *options,
                         void **values, CuLink *link) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *made = new FakeLink;
  for (unsigned i = 0; i < numOptions; ++i) {
    if (options[i] == CuJitErrorLog)
      made->log = static_cast<char *>(values[i]);
    if (options[i] == CuJitErrorLogBytes)
      made->logBytes = reinterpret_cast<uintptr_t>(values[i]);
  }
  ++fake->live[FakeDriver::Links];
  *link = handle<CuLink>(made);
  return CuSuccess;
}

CuResult cuLinkAddData_v2(CuLink handle, CuJitInput type, void *data,
                          size_t bytes, const char *, unsigned, CuJitOption *,
                          void **) {
  auto *link = object<FakeLink>(handle);
  const char *text = static_cast<const char *>(data);
  if (type != CuJitInputPtx || !bytes || text[bytes - 1])
    return CuInvalidValue;
  link->ptx = text;
  if (!fake->canLink)
    return CuInvalidPtx;
  if (fake->assemblerLog.empty())
    return CuSuccess;
  if (link->log)
    std::snprintf(link->log, link->logBytes, "%s", fake->assemblerLog.c_str());
  return CuInvalidPtx;
}

CuResult cuLinkComplete(CuLink handle, void **cubin, size_t *bytes) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *link = object<FakeLink>(handle);
  link->cubin =
      cubinStart + capabilityOf(*deviceAt(entered->ordinal)) + link->ptx;
  ++fake->numAssembled;
  *cubin = link->cubin.data();
  *bytes = link->cubin.size() + 1;
  return CuSuccess;
}

CuResult cuLinkDestroy(CuLink link) {
  delete object<FakeLink>(link);
  --fake->live[FakeDriver::Links];
  return CuSuccess;
}

CuResult cuModuleLoadDataEx(CuModule *module, const void *image, unsigned,
                            CuJitOption *, void **) {
  Entered entered;
  if (entered.error)
    return entered.error;
  const char *text = static_cast<const char *>(image);
  bool isCubin = std::strncmp(text, cubinStart, std::strlen(cubinStart)) == 0;
  if (isCubin) {
    text += std::strlen(cubinStart);
    std::string capability = capabilityOf(*deviceAt(entered->ordinal));
    if (std::strncmp(text, capability.c_str(), capability.size()) != 0)
      return CuNoBinaryForGpu;
  } else if (std::strncmp(text, "//", 2) != 0 &&
             std::strncmp(text, ".version", 8) != 0) {
    return CuInvalidImage; // no PTX; what it is may have no end
  } else if (!fake->assemblerLog.empty()) {
    return CuInvalidPtx;
  }
  ++fake->live[FakeDriver::Modules];
  auto *made = new FakeModule{entered.at, text, {}, {}};
  if (fake->compile)
    made->kernels = fake->compile(made->text);
  *module = handle<CuModule>(made);
  return CuSuccess;
}

CuResult cuModuleUnload(CuModule module) {
  delete object<FakeModule>(module);
  --fake->live[FakeDriver::Modules];
  return CuSuccess;
}

CuResult cuModuleGetFunction(CuFunction *function, CuModule handleOfModule,
                             const char *name) {
  Entered entered;
  if (entered.error)
    return entered.error;
  auto *module = object<FakeModule>(handleOfModule);
  const auto &kernels = fake->compile ? module->kernels : fake->kernels;
  auto kernel = kernels.find(name);
  if (kernel == kernels.end() ||
      module->text.find(std::string(".entry ") + name + "(") ==
          std::string::npos)
    return CuNotFound;
  FakeFunction &made = module->functions[name];
  made.context = module->context;
  made.name = name;
  made.kernel = &kernel->second;
  *function = handle<CuFunction>(&made);
  return CuSuccess;
}

CuResult cuFuncGetAttribute(int *value, CuFunctionAttribute attribute,
                            CuFunction handle) {
  auto *function = object<FakeFunction>(handle);
  *value = attribute == CuFunctionMaxThreads ? function->kernel->maxThreads
           : attribute == CuFunctionStaticSharedBytes
               ? function->kernel->staticSharedBytes
               : function->dynamicBytes;
  return CuSuccess;
}

CuResult cuFuncSetAttribute(CuFunction function, CuFunctionAttribute attribute,
                            int value) {
  if (attribute != CuFunctionMaxDynamicSharedBytes || value > 227 << 10)
    return CuInvalidValue;
  object<FakeFunction>(function)->dynamicBytes = value;
  return CuSuccess;
}

CuResult cuTensorMapEncodeTiled(void *map, int type, uint32_t rank,
                                CuPointer address, const uint64_t *sizes,
                                const uint64_t *strides, const uint32_t *box,
                                const uint32_t *elementStrides, int interleave,
                                int swizzle, int, int fill) {
  Entered entered;
  if (entered.error)
    return entered.error;
  // The only kind that our kernels take.
  if (type != CuTensorMapUint16 || rank != 3 || interleave || fill ||
      swizzle != CuTensorMapSwizzle128 || reinterpret_cast<uintptr_t>(map) % 64)
    return CuInvalidValue;
  for (int i = 0; i < 3; ++i)
    if (elementStrides[i] != 1)
      return CuInvalidValue;
  auto made = emu::encodeTensorMap(reinterpret_cast<const void *>(address), 2,
                                   sizes, strides, box);
  if (!made)
    return fail(made.error().message), CuInvalidValue;
  std::memcpy(map, &*made, sizeof *made);
  return CuSuccess;
}

} // namespace moe::rt
