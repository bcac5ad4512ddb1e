// An NVIDIA GPU: its memory, copies to and from it, and what went wrong there.
#ifndef MOE_RUNTIME_DEVICE_DEVICE_H
#define MOE_RUNTIME_DEVICE_DEVICE_H

#include "runtime/Core/Progress.h"
#include "runtime/Device/Driver.h"

#include <memory>
#include <vector>

namespace moe::rt {

class Device;

struct DeviceInfo {
  int ordinal = 0;
  std::string name;
  int major = 0, minor = 0; // compute capability
  uint64_t memory = 0;
  uint32_t multiprocessors = 0;
  uint32_t maxThreads = 0;     // of a block
  uint64_t maxSharedBytes = 0; // of a block, when asked for
  bool prohibited = false;     // by whoever runs the machine

  bool atLeast(int wantedMajor, int wantedMinor) const {
    return major != wantedMajor ? major > wantedMajor : minor >= wantedMinor;
  }
  /// "device 0 (NVIDIA H200)".
  std::string text() const;
};

/// All devices the driver shows, by ordinal.
Result<std::vector<DeviceInfo>> listDevices(const Driver &driver);

/// "0: NVIDIA H200, compute capability 9.0, 150.1 GB, 132 multiprocessors".
std::string describeDevice(const DeviceInfo &info);

/// Memory of a device; freed with this object, which must go before the device.
class DeviceBuffer {
public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer &&other) noexcept { *this = std::move(other); }
  DeviceBuffer &operator=(DeviceBuffer &&other) noexcept;
  ~DeviceBuffer() { free(); }

  void free();
  /// What kernels get; 0 of an empty buffer.
  CuPointer pointer() const { return address; }
  uint64_t size() const { return bytes; }
  const std::string &name() const { return label; }
  const Device *device() const { return owner; }

private:
  Device *owner = nullptr;
  CuPointer address = 0;
  uint64_t bytes = 0;
  std::string label;
  friend class Device;
};

/// A device with a stream of its own, in which all that is asked of it happens
/// in order. One thread at a time may use it (any); several may be open for one
/// GPU, and see each other's buffers, but not in any order.
///
/// A kernel that fails takes the whole context with it: from then on every call
/// gives the same error.
class Device {
public:
  /// Of the ordinal that the driver gives it.
  static Result<std::unique_ptr<Device>> open(const Driver &driver,
                                              int ordinal);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return api; }
  const DeviceInfo &info() const { return facts; }

  /// `name` is for messages ("weights"). The bytes start out undefined.
  Result<DeviceBuffer> allocate(uint64_t bytes, std::string name);
  /// Bytes that nobody has, of this process or another; may change any time.
  Result<uint64_t> freeMemory();

  /// `from` may be changed as soon as this returns. Kernels launched later see
  /// the bytes.
  Status upload(const DeviceBuffer &to, uint64_t offset, const void *from,
                uint64_t bytes, const Progress &progress = {});
  /// Waits for what was asked before, and for the bytes.
  Status download(void *to, const DeviceBuffer &from, uint64_t offset,
                  uint64_t bytes, const Progress &progress = {});
  Status copy(const DeviceBuffer &to, uint64_t toOffset,
              const DeviceBuffer &from, uint64_t fromOffset, uint64_t bytes);
  Status fill(const DeviceBuffer &to, uint64_t offset, uint8_t value,
              uint64_t bytes);
  /// Until all that was asked is done; how kernels fail is learnt here.
  Status synchronize();

  /// Makes the device's context current for the thread while it lives, and then
  /// again what was: the program may use the driver for other things.
  class Scope {
  public:
    explicit Scope(const Device &device);
    ~Scope();
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;

  private:
    const Driver &driver;
    CuContext previous = nullptr;
    bool changed = false;
  };

  // For kernels.
  CuStream stream() const { return queue; }
  /// A kernel went into the stream.
  void noteLaunch(const std::string &name);
  /// Whether launches wait for their kernels, to tell which one fails.
  bool launchesBlocking() const { return launchesBlock; }
  /// From now on every call gives this error.
  void giveUp(const Status &why);
  /// What came of an earlier failure.
  const Status &failure() const { return broken; }
  /// A status that says what could not be done, and that blames the kernels
  /// launched last where `result` is a failure of theirs.
  Status explain(CuResult result, const std::string &action);

private:
  Device(const Driver &driver, DeviceInfo info)
      : api(driver), facts(std::move(info)) {}

  /// Two pinned buffers: while the device copies one the other is filled.
  struct Staging {
    void *data = nullptr;
    CuEvent free = nullptr; // when the device is done with it
    bool used = false;
  };
  Status prepareStaging();
  Status waitFor(Staging &half);
  Status checkRange(const DeviceBuffer &buffer, uint64_t offset, uint64_t bytes,
                    const char *verb) const;

  const Driver &api;
  DeviceInfo facts;
  CuContext context = nullptr;
  CuStream queue = nullptr;
  Staging staging[2];
  std::string lastKernel;
  uint64_t numLaunches = 0; // since the last time we waited
  bool launchesBlock = false;
  Status broken;
  friend class DeviceBuffer;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_DEVICE_H
