// Work on a device as a phase of a trace.
#ifndef MOE_RUNTIME_DEVICE_SPAN_H
#define MOE_RUNTIME_DEVICE_SPAN_H

#include "runtime/Core/Recorder.h"
#include "runtime/Device/LaunchQueue.h"

namespace moe::rt {

/// From the end of what was asked of the device before to the end of what is
/// asked within, by the host's clock. Without a trace it is nothing.
class Span {
public:
  /// `name` must live as long as the trace is read.
  Span(LaunchQueue &queue, Recorder *trace, const char *name)
      : queue(queue), trace(trace) {
    if (!trace)
      return;
    // How it fails is said by the next call.
    static_cast<void>(queue.finish());
    trace->phaseBegin(name);
  }
  Span(LaunchQueue &queue, Recorder *trace, const std::string &name)
      : Span(queue, trace, name.c_str()) {}
  Span(const Span &) = delete;
  Span &operator=(const Span &) = delete;

  /// What came of it, `status` being what came of asking.
  Status end(Status status) {
    if (!trace)
      return status;
    if (status.ok())
      status = queue.finish();
    trace->phaseEnd();
    return status;
  }

private:
  LaunchQueue &queue;
  Recorder *trace;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_SPAN_H
