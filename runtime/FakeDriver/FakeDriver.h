// A CUDA driver without a GPU: memory and kernels are the emulator's, and what
// can go wrong can be made to.
#ifndef MOE_RUNTIME_FAKEDRIVER_FAKEDRIVER_H
#define MOE_RUNTIME_FAKEDRIVER_FAKEDRIVER_H

#include "runtime/Device/Driver.h"
#include "runtime/Emulator/Emulator.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace moe::fakecuda {

struct FakeDevice {
  std::string name = "Fake H200";
  int major = 9, minor = 0;
  uint64_t memory = 64 << 20;
  bool prohibited = false;
  rt::CuResult openResult = rt::CuSuccess;
};

/// What a `.entry` of that name runs. Parameters have 4, 8 or (tensor maps) 128
/// bytes; the entry gets each in a pointer, of tensor maps the first 8 bytes.
struct FakeKernel {
  void (*entry)(void **arguments) = nullptr;
  std::vector<uint32_t> parameterBytes;
  int maxThreads = 1024;
  int staticSharedBytes = 0;
  bool byAddress =
      false; // the entry gets pointers to parameters, as drivers do
};

struct FakeContext;

/// The functions of the driver act on the one that was made last. They are
/// stricter than the real ones: without the right current context they fail,
/// and work happens only when it is waited for.
class FakeDriver {
public:
  FakeDriver();
  ~FakeDriver();
  FakeDriver(const FakeDriver &) = delete;
  FakeDriver &operator=(const FakeDriver &) = delete;

  /// The table, as from a library.
  rt::Driver table() const;

  // What it is like.
  int version = 13000;
  rt::CuResult initResult = rt::CuSuccess;
  std::vector<FakeDevice> devices = {FakeDevice()};
  uint32_t multiprocessors = 132;
  std::map<std::string, FakeKernel> kernels;
  /// What finds the kernels of a module by its PTX, where they are not those
  /// above.
  std::function<std::map<std::string, FakeKernel>(const std::string &ptx)>
      compile;
  emu::Options schedule;
  std::string assemblerLog; // if any: what the assembler refuses PTX with
  bool canLink = true;      // else the linker refuses it, and loading does not
  rt::CuResult launchResult = rt::CuSuccess; // what launching returns
  rt::CuResult hostAllocResult = rt::CuSuccess;
  rt::CuResult synchronizeResult = rt::CuSuccess;
  rt::CuResult graphResult = rt::CuSuccess;       // of adding to a graph
  rt::CuResult graphUpdateResult = rt::CuSuccess; // of changing one

  // What happened.
  std::atomic<int> numAssembled{0};
  std::atomic<int> numLaunched{0};
  std::atomic<int> numUpdated{0};     // nodes of graphs
  std::atomic<size_t> mostPending{0}; // pieces of work in a stream
  /// The emulator's words for the kernel that failed.
  std::string lastError() const;
  /// What was made and not destroyed: "1 buffers".
  std::string leftovers() const;

  // For the functions.
  enum Kind {
    Buffers,
    Pinned,
    Streams,
    Events,
    Modules,
    Links,
    Contexts,
    Graphs,
    NumKinds
  };
  std::atomic<int> live[NumKinds] = {};
  mutable std::mutex mutex; // of what follows
  std::map<int, std::unique_ptr<FakeContext>> contexts;
  std::string error;
  bool isTelling = false; ///< errors of kernels go to standard error, too
};

} // namespace moe::fakecuda

#endif // MOE_RUNTIME_FAKEDRIVER_FAKEDRIVER_H
