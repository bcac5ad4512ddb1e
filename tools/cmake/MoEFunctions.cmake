# Thin wrappers, so that the folders' CMake files only list what is theirs.

# moe_tablegen(TARGET file.td OUT flags... [OUT flags...])
#   moe_tablegen(MoEOpsIncGen MoEOps.td MoEOps.h.inc -gen-op-decls ...)
function(moe_tablegen target td)
  set(LLVM_TARGET_DEFINITIONS ${td})
  set(out "")
  set(flags "")
  foreach(argument IN LISTS ARGN)
    if(argument MATCHES "\\.inc$")
      if(out)
        mlir_tablegen(${out} ${flags})
      endif()
      set(out ${argument})
      set(flags "")
    else()
      list(APPEND flags ${argument})
    endif()
  endforeach()
  mlir_tablegen(${out} ${flags})
  add_public_tablegen_target(${target})
endfunction()

# One precompiled header serves every library that includes MLIR.
function(moe_add_compiler_options target)
  target_include_directories(${target} SYSTEM PUBLIC ${MLIR_INCLUDE_DIRS}
                             ${LLVM_INCLUDE_DIRS} ${LLD_INCLUDE_DIRS})
  target_compile_definitions(${target} PUBLIC ${LLVM_DEFINITIONS_LIST})
  target_compile_options(${target} PRIVATE -fno-exceptions -Wall -Wextra
                         -Wno-unused-parameter
                         -Wno-c++20-extensions -UNDEBUG)
  if(NOT target STREQUAL MoEPch)
    target_precompile_headers(${target} REUSE_FROM MoEPch)
  endif()
endfunction()

# moe_add_library(NAME sources... DEPENDS tablegen-targets LINK libraries)
function(moe_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  moe_add_compiler_options(${name})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
endfunction()

# moe_add_tool(NAME sources... LINK libraries)
function(moe_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  moe_add_compiler_options(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# moe_add_unittest(NAME sources... LINK libraries): a GoogleTest binary that
# ctest runs. Add COMPILER when it includes MLIR.
function(moe_add_unittest name)
  cmake_parse_arguments(ARG "COMPILER" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  if(ARG_COMPILER)
    moe_add_compiler_options(${name})
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest_main)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
