// Weights on their way to a device, for people.
#ifndef MOE_RUNTIME_RUNNER_UPLOADPROGRESS_H
#define MOE_RUNTIME_RUNNER_UPLOADPROGRESS_H

#include "runtime/moe_runtime.h"

#include <string>

namespace moe::rt {

/// A line of standard error that says how far it is, where that is a terminal
/// and nothing else is said there; gone with the object. Else it keeps time.
class UploadProgress {
public:
  explicit UploadProgress(bool verbose);
  ~UploadProgress() { clear(); }
  UploadProgress(const UploadProgress &) = delete;
  UploadProgress &operator=(const UploadProgress &) = delete;

  /// Lets session_create tell this object, which must live until then.
  void listen(moe_session_options &options);
  /// "weights: 12.3 GB on CUDA 0 in 2.10 s (5.86 GB/s)", of the device that
  /// moe_api.device() describes; empty where none were uploaded.
  std::string summary(const std::string &device) const;

private:
  void tell(uint64_t done, uint64_t total);
  void clear();

  bool isShown, verbose;
  int64_t began = 0, ended = 0;
  uint64_t bytes = 0; // of all, once they are there
  int shown = -1;     // percent
};

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_UPLOADPROGRESS_H
