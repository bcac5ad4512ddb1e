// The CUDA driver API, found at run time: our own declarations of what we use
// of it, so that neither a toolkit nor a driver is needed to build or start.
#ifndef MOE_RUNTIME_DEVICE_DRIVER_H
#define MOE_RUNTIME_DEVICE_DRIVER_H

#include "runtime/Core/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace moe::rt {

// Types and values as in the driver API's documentation, under our names.
using CuDevice = int;
using CuPointer = unsigned long long;
using CuContext = struct CuContextHandle *;
using CuModule = struct CuModuleHandle *;
using CuFunction = struct CuFunctionHandle *;
using CuStream = struct CuStreamHandle *;
using CuEvent = struct CuEventHandle *;
using CuLink = struct CuLinkHandle *;
using CuGraph = struct CuGraphHandle *;
using CuGraphExec = struct CuGraphExecHandle *;
using CuGraphNode = struct CuGraphNodeHandle *;

enum CuResult : int {
  CuSuccess = 0,
  CuInvalidValue = 1,
  CuOutOfMemory = 2,
  CuNotInitialized = 3,
  CuStubLibrary = 34,
  CuNoDevice = 100,
  CuInvalidDevice = 101,
  CuInvalidImage = 200,
  CuInvalidContext = 201,
  CuNoBinaryForGpu = 209,
  CuEccUncorrectable = 214,
  CuInvalidPtx = 218,
  CuContained = 226, // an error of memory that ends the context, too
  CuInvalidHandle = 400,
  CuNotFound = 500,
  CuIllegalAddress = 700,
  CuLaunchOutOfResources = 701,
  CuLaunchTimeout = 702,
  CuAssert = 710,
  CuHardwareStackError = 714,
  CuIllegalInstruction = 715,
  CuMisalignedAddress = 716,
  CuInvalidAddressSpace = 717,
  CuInvalidPc = 718,
  CuLaunchFailed = 719
};

enum CuDeviceAttribute : int {
  CuMaxThreadsPerBlock = 1,
  CuMaxSharedBytesPerBlock = 8, // without asking for more
  CuNumMultiprocessors = 16,
  CuComputeMode = 20,
  CuCapabilityMajor = 75,
  CuCapabilityMinor = 76,
  CuMaxSharedBytesPerBlockOptIn = 97
};
constexpr int CuComputeModeProhibited = 2;

enum CuFunctionAttribute : int {
  CuFunctionMaxThreads = 0,
  CuFunctionStaticSharedBytes = 1,
  CuFunctionMaxDynamicSharedBytes = 8
};

enum CuJitOption : int { CuJitErrorLog = 5, CuJitErrorLogBytes = 6 };
enum CuJitInput : int { CuJitInputPtx = 1 };

/// CUDA_KERNEL_NODE_PARAMS_v2.
struct CuKernelNode {
  CuFunction function;
  unsigned gridX, gridY, gridZ;
  unsigned blockX, blockY, blockZ;
  unsigned sharedBytes;
  void **parameters;
  void **extra;
  void *kernel;  // where there is no function
  void *context; // of such a kernel
};

constexpr int CuTensorMapUint16 = 1;     // numbers
constexpr int CuTensorMapSwizzle128 = 3; // bytes
constexpr int CuTensorMapPromote256 = 3; // bytes into the second cache

constexpr unsigned CuStreamNonBlocking = 1;
constexpr unsigned CuEventDisableTiming = 2;
constexpr unsigned CuMemHostPortable = 1;

// What we call: name in the table, exported symbol, parameters. Where a
// function was revised, the symbol is that of the revision.
#define MOE_CUDA_REQUIRED(X)                                                   \
  X(init, cuInit, (unsigned flags))                                            \
  X(driverGetVersion, cuDriverGetVersion, (int *version))                      \
  X(getErrorName, cuGetErrorName, (CuResult result, const char **name))        \
  X(getErrorString, cuGetErrorString, (CuResult result, const char **text))    \
  X(deviceGetCount, cuDeviceGetCount, (int *count))                            \
  X(deviceGet, cuDeviceGet, (CuDevice * device, int ordinal))                  \
  X(deviceGetName, cuDeviceGetName, (char *name, int size, CuDevice device))   \
  X(deviceGetAttribute, cuDeviceGetAttribute,                                  \
    (int *value, CuDeviceAttribute attribute, CuDevice device))                \
  X(deviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, CuDevice device))     \
  X(primaryCtxRetain, cuDevicePrimaryCtxRetain,                                \
    (CuContext * context, CuDevice device))                                    \
  X(primaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CuDevice device))        \
  X(ctxGetCurrent, cuCtxGetCurrent, (CuContext * context))                     \
  X(ctxSetCurrent, cuCtxSetCurrent, (CuContext context))                       \
  X(memGetInfo, cuMemGetInfo_v2, (size_t *free, size_t *total))                \
  X(memAlloc, cuMemAlloc_v2, (CuPointer * pointer, size_t bytes))              \
  X(memFree, cuMemFree_v2, (CuPointer pointer))                                \
  X(memHostAlloc, cuMemHostAlloc,                                              \
    (void **pointer, size_t bytes, unsigned flags))                            \
  X(memFreeHost, cuMemFreeHost, (void *pointer))                               \
  X(memcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                     \
    (CuPointer to, const void *from, size_t bytes, CuStream stream))           \
  X(memcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                     \
    (void *to, CuPointer from, size_t bytes, CuStream stream))                 \
  X(memcpyDtoDAsync, cuMemcpyDtoDAsync_v2,                                     \
    (CuPointer to, CuPointer from, size_t bytes, CuStream stream))             \
  X(memsetD8Async, cuMemsetD8Async,                                            \
    (CuPointer to, unsigned char value, size_t bytes, CuStream stream))        \
  X(streamCreate, cuStreamCreate, (CuStream * stream, unsigned flags))         \
  X(streamDestroy, cuStreamDestroy_v2, (CuStream stream))                      \
  X(streamSynchronize, cuStreamSynchronize, (CuStream stream))                 \
  X(eventCreate, cuEventCreate, (CuEvent * event, unsigned flags))             \
  X(eventDestroy, cuEventDestroy_v2, (CuEvent event))                          \
  X(eventRecord, cuEventRecord, (CuEvent event, CuStream stream))              \
  X(eventSynchronize, cuEventSynchronize, (CuEvent event))                     \
  X(linkCreate, cuLinkCreate_v2,                                               \
    (unsigned numOptions, CuJitOption *options, void **values, CuLink *link))  \
  X(linkAddData, cuLinkAddData_v2,                                             \
    (CuLink link, CuJitInput type, void *data, size_t bytes, const char *name, \
     unsigned numOptions, CuJitOption *options, void **values))                \
  X(linkComplete, cuLinkComplete, (CuLink link, void **cubin, size_t *bytes))  \
  X(linkDestroy, cuLinkDestroy, (CuLink link))                                 \
  X(moduleLoadDataEx, cuModuleLoadDataEx,                                      \
    (CuModule * module, const void *image, unsigned numOptions,                \
     CuJitOption *options, void **values))                                     \
  X(moduleUnload, cuModuleUnload, (CuModule module))                           \
  X(moduleGetFunction, cuModuleGetFunction,                                    \
    (CuFunction * function, CuModule module, const char *name))                \
  X(funcGetAttribute, cuFuncGetAttribute,                                      \
    (int *value, CuFunctionAttribute attribute, CuFunction function))          \
  X(funcSetAttribute, cuFuncSetAttribute,                                      \
    (CuFunction function, CuFunctionAttribute attribute, int value))           \
  X(launchKernel, cuLaunchKernel,                                              \
    (CuFunction function, unsigned gridX, unsigned gridY, unsigned gridZ,      \
     unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,  \
     CuStream stream, void **parameters, void **extra))

// Null in the table where the driver lacks them (before CUDA 12.0).
#define MOE_CUDA_OPTIONAL(X)                                                   \
  X(graphCreate, cuGraphCreate, (CuGraph * graph, unsigned flags))             \
  X(graphAddKernelNode, cuGraphAddKernelNode_v2,                               \
    (CuGraphNode * node, CuGraph graph, const CuGraphNode *after,              \
     size_t numAfter, const CuKernelNode *kernel))                             \
  X(graphInstantiate, cuGraphInstantiateWithFlags,                             \
    (CuGraphExec * exec, CuGraph graph, unsigned long long flags))             \
  X(graphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams_v2,           \
    (CuGraphExec exec, CuGraphNode node, const CuKernelNode *kernel))          \
  X(graphLaunch, cuGraphLaunch, (CuGraphExec exec, CuStream stream))           \
  X(graphExecDestroy, cuGraphExecDestroy, (CuGraphExec exec))                  \
  X(graphDestroy, cuGraphDestroy, (CuGraph graph))                             \
  X(tensorMapEncodeTiled, cuTensorMapEncodeTiled,                              \
    (void *map, int type, uint32_t rank, CuPointer address,                    \
     const uint64_t *sizes, const uint64_t *strides, const uint32_t *box,      \
     const uint32_t *elementStrides, int interleave, int swizzle,              \
     int promotion, int fill))

/// The functions, and what the driver says of itself.
struct Driver {
#define MOE_CUDA_MEMBER(member, symbol, parameters)                            \
  CuResult(*member) parameters = nullptr;
  MOE_CUDA_REQUIRED(MOE_CUDA_MEMBER)
  MOE_CUDA_OPTIONAL(MOE_CUDA_MEMBER)
#undef MOE_CUDA_MEMBER

  int version = 0;     // newest CUDA it knows, 1000 major + 10 minor
  std::string library; // where it is from; empty: the machine's
};

/// The machine's driver, initialised. It is looked for once; the same answer
/// comes back ever after. Never unloaded.
Result<const Driver *> loadDriver();
/// The same of a library in its place.
Result<const Driver *> loadDriverOf(const std::string &library);

/// "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)".
std::string errorText(const Driver &driver, CuResult result);

namespace detail {
/// The same from a library of that name, each time anew.
Result<Driver> loadDriverFrom(const char *library);
/// Of a table that is filled in but for `version`.
Status initialise(Driver &driver);
} // namespace detail

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DRIVER_H
