#include "tools/moe-bench/Mapping.h"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

moe::bench::Mapping moe::bench::largestMapping(const std::string &path) {
  Mapping largest;
  char real[PATH_MAX];
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps || !realpath(path.c_str(), real)) {
    if (maps)
      fclose(maps);
    return largest;
  }
  char line[PATH_MAX + 128];
  while (fgets(line, sizeof line, maps)) {
    line[strcspn(line, "\n")] = 0;
    unsigned long begin, end;
    char rights[5];
    int at = 0;
    // The path is the sixth field and may hold blanks.
    if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &begin, &end, rights, &at) <
            3 ||
        !at || rights[0] != 'r' || strcmp(line + at, real) != 0 ||
        end - begin <= largest.size)
      continue;
    largest = {reinterpret_cast<const char *>(begin), end - begin};
  }
  fclose(maps);
  return largest;
}
