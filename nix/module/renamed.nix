# The names that the shell original had.
{ lib, ... }:

let
  ipv6 = old: new: lib.mkRenamedOptionModule [ "nixcloud" "container" "ipv6" old ] [ "nixcloud" "container" "ipv6" new ];
in
{
  imports = [
    (ipv6 "ipv6InternetInterfaceAddress" "address")
    (ipv6 "ipv6Prefix" "prefix")
    (ipv6 "ipv6PrefixLength" "prefixLength")
    (ipv6 "ipv6NameServers" "nameServers")
  ];
}
