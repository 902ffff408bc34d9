# How the rooms, the shared library and the programs are made: warnings, sanitizers, include root.
add_library(prle_flags INTERFACE)
target_include_directories(prle_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(prle_flags INTERFACE _GNU_SOURCE)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wdouble-promotion
  $<$<C_COMPILER_ID:GNU>:-Wjump-misses-init> $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> $<$<BOOL:${PRLE_WERROR}>:-Werror>
  -fno-math-errno -ffp-contract=off)
target_compile_options(prle_flags INTERFACE "$<$<COMPILE_LANGUAGE:C>:${warnings}>") # nvcc has its own: PrleCuda.cmake
if(PRLE_SANITIZE)
  target_compile_options(prle_flags INTERFACE -fsanitize=${PRLE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(prle_flags INTERFACE -fsanitize=${PRLE_SANITIZE})
endif()
target_link_libraries(prle_flags INTERFACE m Threads::Threads)

# What was built, for messages and so that the parts of two builds are not mixed.
execute_process(COMMAND git describe --always --dirty=+dirty WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  OUTPUT_VARIABLE PRLE_REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT PRLE_REVISION)
  set(PRLE_REVISION unknown)
endif()

# prle_room(NAME SOURCES ... [OBJECTS ...] ROOMS ... LIBRARIES ...): the room's objects (OBJECTS: further object libraries), and the
# static library prle_NAME linked to the rooms it may include.
function(prle_room name)
  cmake_parse_arguments(arg "" "" "SOURCES;OBJECTS;ROOMS;LIBRARIES" ${ARGN})
  list(TRANSFORM arg_ROOMS PREPEND prle_)
  add_library(prle_${name}_objects OBJECT ${arg_SOURCES})
  target_link_libraries(prle_${name}_objects PUBLIC prle_flags ${arg_LIBRARIES})
  list(PREPEND arg_OBJECTS prle_${name}_objects)
  list(TRANSFORM arg_OBJECTS REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  set_target_properties(prle_${name}_objects PROPERTIES PRLE_ALL_OBJECTS "${arg_OBJECTS}")
  add_library(prle_${name} STATIC ${arg_OBJECTS})
  target_link_libraries(prle_${name} PUBLIC prle_flags ${arg_ROOMS} ${arg_LIBRARIES})
endfunction()

# prle_shared_library(ROOM ...): libprle.so out of all rooms.
function(prle_shared_library)
  add_library(prle_shared SHARED)
  set_target_properties(prle_shared PROPERTIES OUTPUT_NAME prle LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION} SOVERSION 0 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_link_libraries(prle_shared PUBLIC prle_flags)
  foreach(room IN LISTS ARGN)
    get_target_property(objects prle_${room}_objects PRLE_ALL_OBJECTS)
    target_sources(prle_shared PRIVATE ${objects})
    target_link_libraries(prle_shared PRIVATE $<TARGET_PROPERTY:prle_${room}_objects,LINK_LIBRARIES>)
  endforeach()
endfunction()
