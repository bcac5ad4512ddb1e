#include "runtime/Device/Ptx.h"

#include "runtime/Core/Text.h"

#include <algorithm>

namespace moe::rt {
namespace {

bool isSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// Removes white space and comments from the front.
void skip(std::string_view &rest) {
  for (;;) {
    if (!rest.empty() && isSpace(rest[0]))
      rest.remove_prefix(1);
    else if (rest.substr(0, 2) == "//")
      rest.remove_prefix(std::min(rest.find('\n'), rest.size()));
    else if (rest.substr(0, 2) == "/*") {
      size_t end = rest.find("*/", 2);
      rest.remove_prefix(end == rest.npos ? rest.size() : end + 2);
    } else
      return;
  }
}

std::string_view word(std::string_view &rest) {
  skip(rest);
  size_t size = 0;
  while (size < rest.size() && !isSpace(rest[size]) && rest[size] != ',')
    ++size;
  std::string_view found = rest.substr(0, size);
  rest.remove_prefix(size);
  return found;
}

/// Digits at the front; -1: none, or too many.
int takeNumber(std::string_view &rest) {
  size_t size = 0;
  int value = 0;
  for (; size < rest.size() && isDigit(rest[size]); ++size) {
    if (size == 6)
      return -1;
    value = value * 10 + (rest[size] - '0');
  }
  rest.remove_prefix(size);
  return size ? value : -1;
}

/// The newest PTX that CUDA of this version reads, 10 major + minor; 0: of a
/// CUDA newer than this table, which the driver must judge itself.
int newestPtx(int cuda) {
  int major = cuda / 1000, minor = cuda % 1000 / 10;
  switch (major) {
  case 11:
    return 70 + minor;
  case 12: // 12.5 and 12.6 share one
    return 80 + (minor > 5 ? minor - 1 : minor);
  case 13:
    return 90 + minor;
  default:
    return 0;
  }
}

} // namespace

std::optional<CodeTarget> parseTarget(std::string_view name) {
  if (name.substr(0, 3) != "sm_")
    return std::nullopt;
  name.remove_prefix(3);
  int capability = takeNumber(name);
  if (capability < 0 || name.size() > 1 ||
      (!name.empty() && name[0] != 'a' && name[0] != 'f'))
    return std::nullopt;
  return CodeTarget{capability / 10, capability % 10,
                    name.empty() ? '\0' : name[0]};
}

bool runsCubin(std::string_view architecture, const DeviceInfo &device) {
  std::optional<CodeTarget> target = parseTarget(architecture);
  if (!target || device.major != target->major)
    return false;
  return target->suffix == 'a' ? device.minor == target->minor
                               : device.minor >= target->minor;
}

Result<PtxHeader> readPtxHeader(std::string_view ptx) {
  PtxHeader header;
  Status bad(Code::InvalidFile,
             "no PTX: it must begin with '.version' and '.target'");
  if (word(ptx) != ".version")
    return bad;
  std::string_view version = word(ptx);
  header.versionMajor = takeNumber(version);
  if (header.versionMajor < 0 || version.empty() || version[0] != '.')
    return bad;
  version.remove_prefix(1);
  header.versionMinor = takeNumber(version);
  if (header.versionMinor < 0 || !version.empty() || word(ptx) != ".target")
    return bad;
  header.name = word(ptx);
  std::optional<CodeTarget> target = parseTarget(header.name);
  if (!target)
    return bad;
  header.target = *target;
  return header;
}

Status checkPtx(std::string_view ptx, const std::string &name,
                const Driver &driver, const DeviceInfo &device) {
  auto read = readPtxHeader(ptx);
  if (!read)
    return {read.error().code, text(quote(name), ": ", read.error().message)};
  const PtxHeader &header = *read;
  int newest = newestPtx(driver.version);
  if (newest && (header.versionMajor > newest / 10 ||
                 (header.versionMajor == newest / 10 &&
                  header.versionMinor > newest % 10)))
    return {Code::Unsupported,
            text(quote(name), " is PTX ", header.versionMajor, ".",
                 header.versionMinor, ", and the NVIDIA driver (CUDA ",
                 driver.version / 1000, ".", driver.version % 1000 / 10,
                 ") reads PTX up to ", newest / 10, ".", newest % 10,
                 "; a newer driver is needed")};
  const CodeTarget &target = header.target;
  // Without a suffix it is for all later devices, of any major version.
  bool fits = target.suffix ? runsCubin(header.name, device)
                            : device.atLeast(target.major, target.minor);
  if (fits)
    return {};
  const char *wanted = target.suffix == 'a'   ? "exactly"
                       : target.suffix == 'f' ? "the family of"
                                              : "at least";
  return {Code::Unsupported,
          text(quote(name), " is for ", printable(header.name), " (", wanted,
               " compute capability ", target.major, ".", target.minor, "), ",
               device.text(), " has ", device.major, ".", device.minor)};
}

} // namespace moe::rt
