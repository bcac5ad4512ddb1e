#include "runtime/Device/Ptx.h"

#include <cstdlib>

namespace moe::rt {
namespace {

/// Bytes of a parameter such as ".param .align 64 .b8 name[128]" or
/// ".param .u64 .ptr .global .align 1 name"; 0: of none that is known.
uint32_t bytesOf(std::string_view parameter) {
  size_t at = parameter.find(".param");
  if (at == parameter.npos)
    return 0;
  uint32_t size = 0;
  for (at += 6; at < parameter.size();) {
    if (parameter[at] != '.') {
      ++at;
      continue;
    }
    size_t end = parameter.find_first_of(" \t\n.", at + 1);
    std::string_view type =
        parameter.substr(at + 1, end == parameter.npos ? end : end - at - 1);
    at = end == parameter.npos ? parameter.size() : end;
    if (type.size() < 2 || std::string_view("usbf").find(type[0]) == type.npos)
      continue;
    std::string_view bits = type.substr(1);
    size = bits == "8"    ? 1
           : bits == "16" ? 2
           : bits == "32" ? 4
           : bits == "64" ? 8
                          : 0;
    if (size)
      break;
  }
  size_t open = parameter.find('[');
  if (open == parameter.npos)
    return size;
  long count =
      std::strtol(std::string(parameter.substr(open + 1)).c_str(), nullptr, 10);
  // The most that a kernel's parameters have in all.
  return count > 0 && count <= 4096 ? size * static_cast<uint32_t>(count) : 0;
}

} // namespace

std::map<std::string, std::vector<uint32_t>, std::less<>>
readPtxParameters(std::string_view ptx) {
  std::map<std::string, std::vector<uint32_t>, std::less<>> found;
  constexpr std::string_view entry = ".entry ";
  for (size_t at = ptx.find(entry); at != ptx.npos;
       at = ptx.find(entry, at + 1)) {
    size_t begin = at + entry.size();
    size_t open = ptx.find('(', begin), close = ptx.find(')', begin);
    if (open == ptx.npos || close == ptx.npos || close < open)
      break;
    std::string_view name = ptx.substr(begin, open - begin);
    std::string_view list = ptx.substr(open + 1, close - open - 1);
    std::vector<uint32_t> sizes;
    bool isKnown = true;
    while (isKnown && list.find_first_not_of(" \t\n") != list.npos) {
      size_t comma = list.find(',');
      sizes.push_back(bytesOf(list.substr(0, comma)));
      isKnown = sizes.back() != 0;
      list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
    }
    if (isKnown)
      found.emplace(name, std::move(sizes));
  }
  return found;
}

} // namespace moe::rt
