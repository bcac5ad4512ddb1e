#include "runtime/Runner/UploadProgress.h"

#include "runtime/Core/Recorder.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace moe::rt {

UploadProgress::UploadProgress(bool verbose)
    : isShown(!verbose && isatty(STDERR_FILENO)), verbose(verbose) {}

void UploadProgress::listen(moe_session_options &options) {
  if (!isShown && !verbose)
    return;
  options.progress_user = this;
  options.progress = [](void *user, uint64_t done, uint64_t total) {
    static_cast<UploadProgress *>(user)->tell(done, total);
  };
}

void UploadProgress::tell(uint64_t done, uint64_t total) {
  if (!began)
    began = monotonicNs();
  if (done == total) {
    ended = monotonicNs();
    bytes = total;
    return clear();
  }
  int percent = static_cast<int>(100 * static_cast<double>(done) /
                                 static_cast<double>(total));
  if (!isShown || percent == shown)
    return;
  shown = percent;
  std::fprintf(stderr, "\r\033[Kupload weights... %d %%", percent);
  std::fflush(stderr);
}

void UploadProgress::clear() {
  if (shown >= 0)
    std::fprintf(stderr, "\r\033[K");
  shown = -1;
}

std::string UploadProgress::summary(const std::string &device) const {
  if (!bytes)
    return "";
  double seconds =
      static_cast<double>(std::max<int64_t>(ended - began, 1)) / 1e9;
  double size = static_cast<double>(bytes);
  return text("weights: ", bytesText(size), " on ",
              device.substr(0, device.find(':')), " in ", number(seconds, 3),
              " s (", bytesText(size / seconds), "/s)");
}

} // namespace moe::rt
